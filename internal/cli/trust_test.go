package cli

import (
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/certificate"
	"github.com/waybill-dev/waybill/internal/certificate/certificatetest"
	"github.com/waybill-dev/waybill/internal/server"
)

// encrypted is a server with TLS that shows what is in files.
func encrypted(t *testing.T, cert, key string) (url string) {
	t.Helper()
	shown, err := certificate.Load(cert, key, slog.New(slog.DiscardHandler), nil)
	require.NoError(t, err)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(api.User{Name: "anna"})
	}))
	s.TLS = shown.Server()
	s.TLS.Certificates = []tls.Certificate{*shown.Current()} // else it shows one of its own to whoever asks by an address
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

// A server elsewhere is believed where an authority has signed its certificate that this machine knows, or that --ca names.
func TestAuthoritiesThatCount(t *testing.T) {
	dir := t.TempDir()
	cert, key := certificatetest.Write(t, dir, "ours", "127.0.0.1", time.Now().Add(time.Hour))
	url := encrypted(t, cert, key)
	data := t.TempDir()
	t.Setenv(tokenVariable, "secret")
	ask := func(more ...string) (string, string, int) {
		return said(t, append([]string{"whoami", "--data", data, "--server", url}, more...)...)
	}
	_, problem, code := ask()
	require.Equal(t, exitFailed, code)
	require.Contains(t, problem, "the certificate of the server at "+url+" does not count")
	require.Contains(t, problem, "--ca FILE, or WAYBILL_CA")
	out, problem, code := ask("--ca", cert)
	require.Equal(t, exitDone, code, problem)
	require.Contains(t, out, "anna")
	t.Setenv(caVariable, cert)
	_, problem, code = ask()
	require.Equal(t, exitDone, code, problem)
	_, problem, code = ask("--ca", key)
	require.Equal(t, exitUsage, code)
	require.Contains(t, problem, key+" holds no certificate")
	_, problem, code = ask("--ca", filepath.Join(dir, "gone"))
	require.Equal(t, exitUsage, code)
	require.Contains(t, problem, "no such file")

	over, overKey := certificatetest.Write(t, t.TempDir(), "over", "127.0.0.1", time.Now().Add(-time.Hour))
	url = encrypted(t, over, overKey)
	_, problem, code = ask("--ca", over)
	require.Equal(t, exitFailed, code)
	require.Contains(t, problem, "expired")
	named, namedKey := certificatetest.Write(t, t.TempDir(), "named", "waybill.example", time.Now().Add(time.Hour))
	url = encrypted(t, named, namedKey)
	_, problem, code = ask("--ca", named)
	require.Equal(t, exitFailed, code)
	require.Contains(t, problem, "127.0.0.1")
}

// The server of the data folder is known by the certificate that the folder names, whoever has signed it and whatever names it has; and no other is.
func TestCertificateOfTheDataFolder(t *testing.T) {
	cert, key := certificatetest.Write(t, t.TempDir(), "ours", "waybill.example", time.Now().Add(time.Hour))
	url := encrypted(t, cert, key)
	data := t.TempDir()
	t.Setenv(tokenVariable, "secret")
	names := func(file string) {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		block, _ := pem.Decode(content)
		content, err = json.Marshal(server.Address{URL: url, Certificate: block.Bytes})
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(data, server.AddressFile), content, 0o600))
	}
	names(cert)
	out, problem, code := said(t, "whoami", "--data", data)
	require.Equal(t, exitDone, code, problem)
	require.Contains(t, out, "anna")
	other, _ := certificatetest.Write(t, t.TempDir(), "other", "127.0.0.1", time.Now().Add(time.Hour))
	names(other)
	_, problem, code = said(t, "whoami", "--data", data, "--ca", cert)
	require.Equal(t, exitFailed, code)
	require.Contains(t, problem, "another certificate is shown than the server's own")
}
