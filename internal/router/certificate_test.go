package router

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func writePair(t *testing.T, dir, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	for file, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: pkcs8},
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600))
	}
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	writePair(t, dir, "first")
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
	writePair(t, dir, "second")
	r.eventually("the new certificate serves", func() bool {
		res, err := get(tls.VersionTLS12)
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.TLS.PeerCertificates[0].Subject.CommonName == "second"
	})
}
