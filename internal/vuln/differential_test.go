//go:build odoo

package vuln

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPythonOrder compares with Python's own library of versions.
func TestPythonOrder(t *testing.T) {
	const python = "/usr/bin/python3"
	if err := exec.CommandContext(t.Context(), python, "-c", "import packaging.version").Run(); err != nil {
		t.Fatal("Python's library packaging is missing; install it: apt-get install -y python3-packaging")
	}
	random := rand.New(rand.NewPCG(3, 4))
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	word := func() string {
		return pick("", "", "", "1!") + pick("0", "1", "1.0", "1.0.0", "2.10", "2.9", "2024.1") + pick("", "", "a1", "b2", ".rc1", "-alpha", "c3", "rc") +
			pick("", "", ".post1", "-1", ".post0", "post") + pick("", "", ".dev0", ".dev3") + pick("", "", "", "+local.1", "+abc", "+1", "+1.abc")
	}
	var lines []string
	for range 6000 {
		lines = append(lines, word()+" "+word())
	}
	cmd := exec.CommandContext(t.Context(), python, "-c", `
import sys
from packaging.version import Version, InvalidVersion
for line in sys.stdin:
    a, b = line.split()
    try:
        a, b = Version(a), Version(b)
        print((a > b) - (a < b))
    except InvalidVersion:
        print("none")
`)
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	out, err := cmd.Output()
	require.NoError(t, err)
	answers := strings.Fields(string(out))
	require.Len(t, answers, len(lines))
	for i, line := range lines {
		a, b, _ := strings.Cut(line, " ")
		x, errX := parsePython(a)
		y, errY := parsePython(b)
		got := "none"
		if errX == nil && errY == nil {
			got = fmt.Sprint(max(-1, min(1, x.compare(y))))
		}
		require.Equal(t, answers[i], got, line)
	}
}
