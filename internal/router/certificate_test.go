package router

import (
	"crypto/tls"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/certificate/certificatetest"
)

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	certificatetest.Write(t, dir, "first", host, time.Now().Add(time.Hour))
	r := newRig(t, func(c *Config) {
		c.HTTPS, c.Cert, c.Key = "127.0.0.1:0", filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	})
	r.apply(Tenant{Stable: upstream(t, "old", mirror)})
	get := func(version uint16) (*http.Response, error) {
		c := &http.Client{Transport: &http.Transport{
			ForceAttemptHTTP2: true, DisableKeepAlives: true,
			// The test looks at the certificate itself; no authority signed it.
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: version},
		}}
		req, err := http.NewRequest(http.MethodGet, "https://"+r.server.https.Addr().String()+"/", nil)
		require.NoError(t, err)
		req.Host = host
		return c.Do(req)
	}
	res, err := get(tls.VersionTLS13)
	require.NoError(t, err)
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, 2, res.ProtoMajor)
	require.Equal(t, "first", res.TLS.PeerCertificates[0].Subject.CommonName)
	require.True(t, res.Cookies()[0].Secure)
	require.Contains(t, string(body), `"X-Forwarded-Proto":["https"]`)
	_, err = get(tls.VersionTLS11)
	require.ErrorContains(t, err, "protocol version")

	// While the new files are not whole the old pair serves on; then the new one does.
	key := filepath.Join(dir, "key.pem")
	good, err := os.ReadFile(key)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(key, good[:20], 0o600))
	r.server.config.Log.Info("key cut short")
	res, err = get(tls.VersionTLS13)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, "first", res.TLS.PeerCertificates[0].Subject.CommonName)
	certificatetest.Write(t, dir, "second", host, time.Now().Add(time.Hour))
	r.eventually("the new certificate serves", func() bool {
		res, err := get(tls.VersionTLS12)
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.TLS.PeerCertificates[0].Subject.CommonName == "second"
	})
}
