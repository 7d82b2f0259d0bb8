package build

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/registry"
)

// A registry is not asked for layers that arrived earlier; one that has lost them gets them again.
func TestArrivedLayers(t *testing.T) {
	fresh := func() http.Handler {
		handler, err := registry.Handler(t.TempDir(), func(string, string) bool { return true })
		require.NoError(t, err)
		return handler
	}
	var behind atomic.Value
	behind.Store(fresh())
	var mu sync.Mutex
	asked := map[string]int{} // by what, as digest
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, digest, ok := strings.Cut(r.URL.Path, "/acme/blobs/sha256:"); ok && r.Method == http.MethodHead {
			mu.Lock()
			asked["sha256:"+digest]++
			mu.Unlock()
		}
		behind.Load().(http.Handler).ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	b := setup(t)
	b.registry.Host = server.Listener.Addr().String()
	b.options.Registry = b.registry
	rootfs := writeRootfs(t, fakeBase)
	_, err := importForTest(t, rootfs, b.registry)
	require.NoError(t, err)
	b.repo.write("addons/a/__manifest__.py", `{"name": "A", "version": "1.0", "license": "LGPL-3"}`)
	b.repo.write("addons/b/__manifest__.py", `{"name": "B", "version": "1.0", "license": "LGPL-3"}`)
	b.repo.commit("first")
	first, err := Build(t.Context(), b.options)
	require.NoError(t, err)

	b.repo.write("addons/b/__manifest__.py", `{"name": "B", "version": "1.1", "license": "LGPL-3"}`)
	b.repo.commit("second")
	clear(asked)
	second, err := Build(t.Context(), b.options)
	require.NoError(t, err)
	require.NotEqual(t, first.Digest, second.Digest)
	require.Len(t, asked, 2, "the new layer and the configuration: %v", asked)
	manifest, err := b.pull(t, "acme@"+second.Digest).Manifest()
	require.NoError(t, err)

	behind.Store(fresh())
	_, err = importForTest(t, rootfs, b.registry)
	require.NoError(t, err)
	again, err := Build(t.Context(), b.options)
	require.NoError(t, err)
	require.Equal(t, second.Digest, again.Digest)
	for _, layer := range manifest.Layers {
		answer, err := http.Head(server.URL + "/v2/acme/blobs/" + layer.Digest.String())
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		require.Equal(t, http.StatusOK, answer.StatusCode, layer.Digest)
	}
}
