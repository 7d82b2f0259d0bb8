package console

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

var builtSite = fstest.MapFS{
	".gitkeep":              {},
	"index.html":            {Data: []byte(`<meta name="nonce" content="__NONCE__"><style nonce="__NONCE__"></style>`)},
	"scheme.js":             {Data: []byte("plain")},
	"assets/app-1a2b.js":    {Data: []byte("the script")},
	"assets/app-1a2b.js.gz": {Data: []byte("gzipped")},
	"assets/app-1a2b.js.br": {Data: []byte("brotli")},
}

func ask(t *testing.T, site fs.FS, method, path string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	h, err := handler(site)
	require.NoError(t, err)
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestAssets(t *testing.T) {
	for _, c := range []struct{ accept, encoding, content string }{
		{"", "", "the script"},
		{"gzip, deflate, br", "br", "brotli"},
		{"gzip;q=1.0, br;q=0", "gzip", "gzipped"},
		{"br;q=0.0, gzip;q=0", "", "the script"},
		{"identity", "", "the script"},
	} {
		w := ask(t, builtSite, "GET", "/assets/app-1a2b.js", "Accept-Encoding", c.accept)
		require.Equal(t, 200, w.Code)
		require.Equal(t, c.encoding, w.Header().Get("Content-Encoding"), c.accept)
		require.Equal(t, c.content, w.Body.String(), c.accept)
		require.Equal(t, "Accept-Encoding", w.Header().Get("Vary"))
		require.Equal(t, "text/javascript; charset=utf-8", w.Header().Get("Content-Type"))
		require.Equal(t, "public, max-age=31536000, immutable", w.Header().Get("Cache-Control"))
		again := ask(t, builtSite, "GET", "/assets/app-1a2b.js", "Accept-Encoding", c.accept, "If-None-Match", w.Header().Get("ETag"))
		require.Equal(t, http.StatusNotModified, again.Code)
		require.Empty(t, again.Body.String())
	}
	require.Equal(t, "no-cache", ask(t, builtSite, "GET", "/scheme.js").Header().Get("Cache-Control"), "its name stays, its content does not")
	require.Equal(t, 404, ask(t, builtSite, "GET", "/assets/app-0000.js").Code, "a page is no script of an earlier version")
	require.Equal(t, 404, ask(t, builtSite, "GET", "/assets/app-1a2b.js.map").Code)
}

func TestPageAtEveryPath(t *testing.T) {
	nonce := regexp.MustCompile(`style-src 'self' 'nonce-([^']+)'`)
	seen := map[string]bool{}
	for _, path := range []string{"/", "/index.html", "/promotions/p1", "/../../etc/passwd", "/.gitkeep"} {
		w := ask(t, builtSite, "GET", path, "Accept-Encoding", "br")
		require.Equal(t, 200, w.Code, path)
		require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
		policy := w.Header().Get("Content-Security-Policy")
		require.NotContains(t, policy, "unsafe")
		require.Contains(t, policy, "script-src 'self';")
		found := nonce.FindStringSubmatch(policy)
		require.NotNil(t, found, policy)
		require.Contains(t, w.Body.String(), found[1])
		require.NotContains(t, w.Body.String(), nonceMarker)
		require.False(t, seen[found[1]], "a nonce is used once")
		seen[found[1]] = true
	}
	require.Empty(t, ask(t, builtSite, "HEAD", "/").Body.String())
	require.Equal(t, http.StatusMethodNotAllowed, ask(t, builtSite, "POST", "/promotions").Code)
}

func TestWithoutBuild(t *testing.T) {
	w := ask(t, fstest.MapFS{".gitkeep": {}}, "GET", "/promotions/p1")
	require.Equal(t, 200, w.Code)
	require.Contains(t, w.Body.String(), "make build")
	require.Contains(t, w.Header().Get("Content-Security-Policy"), "nonce-")
}

// What is embedded now is whole, built or not.
func TestEmbedded(t *testing.T) {
	h, err := Handler()
	require.NoError(t, err)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	require.Equal(t, 200, w.Code)
	require.Contains(t, w.Body.String(), "Waybill")
}
