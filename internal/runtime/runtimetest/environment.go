package runtimetest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func environmentIsEnsuredAndObserved(ctx context.Context, t *testing.T, b Bundle) {
	require.NoError(t, b.Runtime.EnsureEnvironment(ctx, b.Environment))
	first := page(ctx, t, "http://"+b.Environment.HTTP+"/started")
	require.NoError(t, b.Runtime.EnsureEnvironment(ctx, b.Environment))
	require.Equal(t, first, page(ctx, t, "http://"+b.Environment.HTTP+"/started"), "a running router is left alone")
	require.Equal(t, "true", page(ctx, t, "http://"+b.Environment.HTTP+"/write/run/waybill/router"))
	require.Equal(t, "false", page(ctx, t, "http://"+b.Environment.HTTP+"/write/"), "the router's root is read-only")
	left, err := b.Leftovers(ctx)
	require.NoError(t, err)
	require.NotEmpty(t, left, "else the suite's last check could not fail")
}

func routerIsReplacedWhenItsAddressChanges(ctx context.Context, t *testing.T, b Bundle) {
	require.NoError(t, b.Runtime.EnsureEnvironment(ctx, b.Environment))
	pool := b.pool("p1", 0)
	pool.Group = "alone"
	state, err := b.Runtime.EnsurePool(ctx, pool)
	require.NoError(t, err)

	old := b.Environment.HTTP
	b.Environment.HTTP = b.freeAddress(t)
	require.NoError(t, b.Runtime.EnsureEnvironment(ctx, b.Environment))
	page(ctx, t, "http://"+b.Environment.HTTP+"/started")
	_, err = net.DialTimeout("tcp", old, time.Second)
	require.Error(t, err, "the old address is still listened on")
	page(ctx, t, "http://"+b.Environment.HTTP+"/dial/"+state.Upstream.Web) // also in the dedicated group's network
}

func routerSpeaksTLS(ctx context.Context, t *testing.T, b Bundle) {
	b.Environment.HTTPS = b.freeAddress(t)
	certificate, key, roots := selfSigned(t, b.Environment.HTTPS)
	b.Environment.Certificate, b.Environment.Key = certificate, filepath.Join(t.TempDir(), "none.pem")
	err := b.Runtime.EnsureEnvironment(ctx, b.Environment)
	require.ErrorContains(t, err, "none.pem")

	b.Environment.Key = key
	require.NoError(t, b.Runtime.EnsureEnvironment(ctx, b.Environment))
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+b.Environment.HTTPS+"/started", nil)
	require.NoError(t, err)
	res, err := client.Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusOK, res.StatusCode)
}

func portInUseIsNamed(ctx context.Context, t *testing.T, b Bundle) {
	release := b.occupy(t, b.Environment.HTTP)
	_, port, err := net.SplitHostPort(b.Environment.HTTP)
	require.NoError(t, err)
	err = b.Runtime.EnsureEnvironment(ctx, b.Environment)
	require.ErrorContains(t, err, port)
	require.ErrorContains(t, err, "in use")

	release()
	require.NoError(t, b.Runtime.EnsureEnvironment(ctx, b.Environment), "once the port is free")
}

// FreeAddress is an address of this machine where nothing listens now.
func FreeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// selfSigned makes certificate and key for the host of an address, readable by nobody but this process's user.
func selfSigned(t *testing.T, address string) (certificate, key string, roots *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	host, _, err := net.SplitHostPort(address)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IPAddresses: []net.IP{net.ParseIP(host)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	require.NoError(t, err)
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	dir := t.TempDir()
	write := func(name, kind string, content []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), 0o600))
		return path
	}
	parsed, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	roots = x509.NewCertPool()
	roots.AddCert(parsed)
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", encoded), roots
}
