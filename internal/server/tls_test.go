package server

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/attest"
	"github.com/waybill-dev/waybill/internal/certificate"
	"github.com/waybill-dev/waybill/internal/certificate/certificatetest"
	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/store/storetest"
)

func TestNear(t *testing.T) {
	for listens, near1 := range map[string]string{"127.0.0.1:7480": "127.0.0.1:7480", "0.0.0.0:7480": "127.0.0.1:7480", "[::]:7480": "127.0.0.1:7480", "192.0.2.7:7480": "192.0.2.7:7480"} {
		at, err := net.ResolveTCPAddr("tcp", listens)
		require.NoError(t, err)
		require.Equal(t, near1, near(at))
	}
}

func TestCertificateThatDoesNotServe(t *testing.T) {
	config := Config{Data: folder(t), Estate: declared(t), Listen: "127.0.0.1:0"}
	config.TLSCert, _ = certificatetest.Write(t, t.TempDir(), "a", "waybill.example", time.Now().Add(time.Hour))
	_, config.TLSKey = certificatetest.Write(t, t.TempDir(), "b", "waybill.example", time.Now().Add(time.Hour))
	require.ErrorContains(t, Run(t.Context(), config), "private key does not match")
	config.TLSCert, config.TLSKey, config.TrustedProxies = "", "", []string{"traefik"}
	require.ErrorContains(t, Run(t.Context(), config), `--trusted-proxies: the network of a proxy "traefik"`)
}

// A server with TLS: HTTP/2, no old protocol, nothing without TLS on the same port, browsers told to stay with it; its own registry read by the server
// itself; and a renewed certificate taken up without a restart, and told to this machine's clients before anybody sees it.
func TestTLS(t *testing.T) {
	long.Test(t)
	dir := t.TempDir()
	cert, key := certificatetest.Write(t, dir, "first", "waybill.example", time.Now().Add(time.Hour))
	r := start(t, Config{Data: folder(t), Estate: declared(t), Listen: "127.0.0.1:0", DatabaseURL: storetest.Database(t, cluster(t)), TLSCert: cert, TLSKey: key})
	require.True(t, strings.HasPrefix(r.url, "https://127.0.0.1:"), r.url)
	host := strings.TrimPrefix(r.url, "https://")
	announced := func() Address {
		var a Address
		content, err := os.ReadFile(filepath.Join(r.data, AddressFile))
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(content, &a))
		return a
	}
	way := certificate.Only(host, func() [][]byte { return [][]byte{announced().Certificate} }, remote.DefaultTransport)
	ask := func(via http.RoundTripper, method, url, body string) (*http.Response, string, error) {
		request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
		require.NoError(t, err)
		request.Header.Set("Content-Type", "application/json")
		if body == "" {
			request.Header.Set("Authorization", "Bearer "+r.token())
		}
		answer, err := (&http.Client{Transport: via}).Do(request)
		if err != nil {
			return nil, "", err
		}
		defer func() { _ = answer.Body.Close() }()
		content, err := io.ReadAll(answer.Body)
		return answer, string(content), err
	}
	answer, content, err := ask(way, http.MethodGet, r.url+"/api/v1/whoami", "")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, answer.StatusCode, content)
	require.Equal(t, 2, answer.ProtoMajor)
	require.NotEmpty(t, answer.Header.Get("Strict-Transport-Security"))
	answer, content, err = ask(way, http.MethodPost, r.url+"/api/v1/login", `{"token":"`+r.token()+`"}`)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, answer.StatusCode, content)
	require.Regexp(t, `^__Host-waybill_session=.*; Secure`, answer.Header.Get("Set-Cookie"))
	answer, _, err = ask(http.DefaultTransport, http.MethodGet, "http://"+host+"/api/v1/whoami", "")
	require.NoError(t, err)
	require.Equal(t, http.StatusBadRequest, answer.StatusCode, "nothing is told without TLS")
	_, err = tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", host, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10})
	require.ErrorContains(t, err, "protocol version")

	// Registry clients take the address for one without TLS.
	image, err := random.Image(100, 1)
	require.NoError(t, err)
	ref, err := name.ParseReference(host + "/shop:one")
	require.NoError(t, err)
	auth := &authn.Basic{Username: "waybill", Password: r.token()}
	require.NoError(t, remote.Write(ref, image, remote.WithContext(t.Context()), remote.WithAuth(auth), remote.WithTransport(way)))
	found, err := attest.Open(t.Context(), ref, auth, way)
	require.NoError(t, err)
	_, content, err = ask(way, http.MethodGet, r.url+"/api/v1/doctor", "")
	require.NoError(t, err)
	require.Contains(t, content, "TLS certificate")
	require.Contains(t, content, "which is soon")
	release := func(ref string) string {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+"/api/v1/releases", strings.NewReader(`{"ref":"`+ref+`"}`))
		require.NoError(t, err)
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Authorization", "Bearer "+r.token())
		answer, err := (&http.Client{Transport: way}).Do(request)
		require.NoError(t, err)
		defer func() { _ = answer.Body.Close() }()
		content, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		require.Equal(t, http.StatusUnprocessableEntity, answer.StatusCode, string(content))
		return string(content)
	}
	require.Contains(t, release("shop@"+found.Digest()), "annotation", "the server has read the image, and found that it is none of Waybill's")
	require.Contains(t, release("shop@sha256:"+strings.Repeat("0", 64)), "is not there")

	certificatetest.Write(t, dir, "second", "waybill.example", time.Now().Add(240*time.Hour))
	shown := func() string {
		conn, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}}).DialContext(context.Background(), "tcp", host)
		if err != nil {
			return err.Error()
		}
		defer func() { _ = conn.Close() }()
		leaf := conn.(*tls.Conn).ConnectionState().PeerCertificates[0]
		if leaf.Subject.CommonName == "second" {
			require.Equal(t, leaf.Raw, announced().Certificate)
		}
		return leaf.Subject.CommonName
	}
	require.Eventually(t, func() bool { return shown() == "second" }, 30*time.Second, 50*time.Millisecond)
	way = certificate.Only(host, func() [][]byte { return [][]byte{announced().Certificate} }, remote.DefaultTransport) // a new connection
	_, content, err = ask(way, http.MethodGet, r.url+"/api/v1/doctor", "")
	require.NoError(t, err)
	require.NotContains(t, content, "which is soon")
	require.Contains(t, release("shop@"+found.Digest()), "annotation")
}
