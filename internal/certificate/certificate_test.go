package certificate

import (
	"bytes"
	"crypto/tls"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/certificate/certificatetest"
)

func TestFilesThatDoNotServe(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	cert, key := certificatetest.Write(t, dir, "a", "a.example", time.Now().Add(time.Hour))
	_, foreign := certificatetest.Write(t, other, "b", "b.example", time.Now().Add(time.Hour))
	rubbish := filepath.Join(dir, "rubbish")
	require.NoError(t, os.WriteFile(rubbish, []byte("no PEM"), 0o600))
	for name, test := range map[string]struct{ cert, key, says string }{
		"another's key":   {cert, foreign, "does not match"},
		"no file":         {filepath.Join(dir, "gone"), key, "no such file"},
		"no PEM":          {rubbish, key, "PEM"},
		"a folder":        {dir, key, "is a directory"},
		"the wrong order": {key, cert, "may have been switched"},
	} {
		_, err := Load(test.cert, test.key, slog.New(slog.DiscardHandler), nil)
		require.ErrorContains(t, err, test.says, name)
		require.ErrorContains(t, err, test.cert, name)
		require.ErrorContains(t, err, "give a PEM certificate chain and its private key", name)
	}
}

func TestTimeThatIsOver(t *testing.T) {
	var log bytes.Buffer
	cert, key := certificatetest.Write(t, t.TempDir(), "a", "a.example", time.Now().Add(-time.Hour))
	f, err := Load(cert, key, slog.New(slog.NewTextHandler(&log, nil)), nil)
	require.NoError(t, err)
	require.Contains(t, log.String(), "has expired at")
	log.Reset()
	f.checked = time.Time{}
	require.NotNil(t, f.Current())
	require.Empty(t, log.String(), "it is said once")
	leaf := f.Current().Leaf
	require.ErrorContains(t, Problem(f.Current(), leaf.NotBefore.Add(-time.Second)), "holds from")
	require.NoError(t, Problem(f.Current(), leaf.NotBefore.Add(time.Second)))
}

// The new pair is told of before it is shown, and a half-written one never is.
func TestRenewal(t *testing.T) {
	dir := t.TempDir()
	cert, key := certificatetest.Write(t, dir, "first", "a.example", time.Now().Add(time.Hour))
	var told []string
	f, err := Load(cert, key, slog.New(slog.DiscardHandler), func(c *tls.Certificate) { told = append(told, c.Leaf.Subject.CommonName) })
	require.NoError(t, err)
	look := func() string {
		f.checked = time.Time{} // as if a second had passed
		return f.Current().Leaf.Subject.CommonName
	}
	require.Equal(t, "first", look())
	whole, err := os.ReadFile(key)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(key, whole[:20], 0o600))
	require.Equal(t, "first", look())
	require.Empty(t, told)
	certificatetest.Write(t, dir, "second", "a.example", time.Now().Add(time.Hour))
	require.Equal(t, "second", look())
	require.Equal(t, []string{"second"}, told)
	require.NoError(t, os.Remove(cert))
	require.Equal(t, "second", look(), "files that are gone take nothing away")
}

func TestOnlyItsOwnCertificate(t *testing.T) {
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) })
	server, neighbour := httptest.NewUnstartedServer(echo), httptest.NewServer(echo)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	t.Cleanup(neighbour.Close)
	host := server.Listener.Addr().String()
	given := [][]byte{server.Certificate().Raw}
	client := &http.Client{Transport: Only(host, func() [][]byte { return given }, http.DefaultTransport)}
	ask := func(url string) (string, error) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		require.NoError(t, err)
		answer, err := client.Do(request)
		if err != nil {
			return "", err
		}
		defer func() { _ = answer.Body.Close() }()
		content, err := io.ReadAll(answer.Body)
		return string(content), err
	}
	for _, url := range []string{"https://" + host, "http://" + host} {
		said, err := ask(url)
		require.NoError(t, err)
		require.Equal(t, "HTTP/2.0", said, "by TLS, whatever the address says")
	}
	said, err := ask(neighbour.URL)
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1", said)
	given = [][]byte{[]byte("another"), nil}
	client.Transport = Only(host, func() [][]byte { return given }, http.DefaultTransport)
	_, err = ask("https://" + host)
	require.ErrorIs(t, err, ErrOther)
}
