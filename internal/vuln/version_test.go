package vuln

import (
	"errors"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// sign of a comparison; an unreadable version fails the test.
func sign(t *testing.T, read order, a, b string) int {
	t.Helper()
	x, err := read(a)
	require.NoError(t, err)
	y, err := read(b)
	require.NoError(t, err)
	switch c := x.compare(y); {
	case c < 0:
		return -1
	case c > 0:
		return 1
	}
	return 0
}

// hard are versions that comparisons go wrong with.
var hard = []string{
	"0", "1", "01", "1.0", "1.00", "1.0-0", "1.0-1", "1.0-1+b1", "1.0-1~bpo12+1", "1.0~rc1-1", "1.0+dfsg-1", "1.0.1-1", "1:0.9-1", "0:1.0", "2:1.0.4-1+deb7u1",
	"1.0a", "1.0A", "1.0+", "1.0~", "1.0~~", "1.0~~a", "1.0.", "1.0-", "2.36-9+deb12u9", "2.36-9+deb12u10", "19.0.0+dfsg-1", "0~20240905120000123456789-1",
	"0~20240905120000123456790-1", "20250101", "1.2.3-4.5", "1-2-3", "v1.0", "abc", "1_0", "1.0:1", "1:1.0:1", "16.02+transitional.1", "16.02+really26.01+dfsg-0+deb12u1",
}

// TestDebianOrder compares with dpkg itself, on versions that are hard and on random ones.
func TestDebianOrder(t *testing.T) {
	if _, err := exec.LookPath("dpkg"); err != nil {
		t.Fatal("dpkg is missing; install it: apt-get install -y dpkg")
	}
	random := rand.New(rand.NewPCG(1, 2))
	word := func() string {
		const letters = "0123456789009.+~-:aZ"
		var b strings.Builder
		b.WriteByte(letters[random.IntN(10)])
		for range random.IntN(8) {
			b.WriteByte(letters[random.IntN(len(letters))])
		}
		return b.String()
	}
	var pairs [][2]string
	for _, a := range hard {
		for range 12 {
			pairs = append(pairs, [2]string{a, hard[random.IntN(len(hard))]})
		}
	}
	for range 600 {
		a := word()
		b := word()
		if random.IntN(2) == 0 { // near ones are the interesting ones
			b = a[:random.IntN(len(a))] + b
		}
		pairs = append(pairs, [2]string{a, b})
	}
	compared := 0
	for _, p := range pairs {
		x, errX := parseDebian(p[0])
		y, errY := parseDebian(p[1])
		if errX != nil || errY != nil {
			continue // dpkg warns of some and goes on; here they are in doubt, which is never a pass
		}
		compared++
		want := 0
		if dpkg(t, p[0], "lt", p[1]) {
			want = -1
		} else if dpkg(t, p[0], "gt", p[1]) {
			want = 1
		}
		got := x.compare(y)
		require.True(t, got < 0 == (want < 0) && got > 0 == (want > 0), "%s against %s: dpkg says %d, we say %d", p[0], p[1], want, got)
	}
	require.Greater(t, compared, len(pairs)*3/4)
}

func dpkg(t *testing.T, a, relation, b string) bool {
	t.Helper()
	err := exec.CommandContext(t.Context(), "dpkg", "--compare-versions", a, relation, b).Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return err == nil
}

func TestNoVersions(t *testing.T) {
	for _, s := range []string{"", ":1", "a:1", "-1:2", "1.0-", "1 0", "1.0/2", "1:"} {
		_, err := parseDebian(s)
		require.Error(t, err, s)
	}
	for _, s := range []string{"", "abc", "1.0-gamma", "1.0+"} {
		_, err := parsePython(s)
		require.Error(t, err, s)
	}
	for _, s := range []string{"", "19.0.1-rc", "x"} {
		_, err := parseModule(s)
		require.Error(t, err, s)
	}
}

func TestModuleOrder(t *testing.T) {
	require.Equal(t, -1, sign(t, parseModule, "19.0.1.2.0", "19.0.1.10.0"))
	require.Equal(t, 0, sign(t, parseModule, "19.0.1", "19.0.1.0"))
	require.Equal(t, 1, sign(t, parseModule, "19.0.1.0", "18.0.9.9"))
}
