package build

import (
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/registry"
)

// faulty is what stands before a registry and spoils uploads.
type faulty struct {
	*httptest.Server
	mu    sync.Mutex
	spoil func(w http.ResponseWriter, r *http.Request) bool // true: it has answered
	hits  int
	over  chan struct{} // closed once the spoilt build has ended
}

func (f *faulty) set(spoil func(w http.ResponseWriter, r *http.Request) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.spoil, f.hits = spoil, 0
	if f.over != nil {
		close(f.over)
	}
	f.over = make(chan struct{})
}

func (f *faulty) hit() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hits++
}

func (f *faulty) ended() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.over
}

func (f *faulty) seen() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hits
}

func before(t *testing.T, upstream string) *faulty {
	t.Helper()
	to, err := url.Parse(upstream)
	require.NoError(t, err)
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	f := &faulty{}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		spoil := f.spoil
		f.mu.Unlock()
		if spoil == nil || !spoil(w, r) {
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(f.Close)
	return f
}

func upload(r *http.Request) bool {
	return strings.Contains(r.URL.Path, "/acme/blobs/uploads/") && (r.Method == "PATCH" || r.Method == "PUT")
}

func manifestOf(r *http.Request) bool {
	return strings.Contains(r.URL.Path, "/acme/manifests/") && r.Method == "PUT"
}

// cutBody ends a body in the middle.
type cutBody struct {
	io.ReadCloser
	left int
}

func (c *cutBody) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := c.ReadCloser.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

func TestRegistryThatCutsTheUpload(t *testing.T) {
	long.Test(t)
	images := t.TempDir()
	handler, err := registry.Handler(images, func(user, password string) bool { return user == "u" && password == "p" })
	require.NoError(t, err)
	real := httptest.NewServer(handler)
	t.Cleanup(real.Close)
	_, err = importForTest(t, writeRootfs(t, fakeBase), Registry{Host: real.Listener.Addr().String(), User: "u", Password: "p"})
	require.NoError(t, err)
	front := before(t, real.URL)
	cache := t.TempDir()

	// Only the silent registry is waited out: whatever else is slow here is the machine.
	const brief, long = 400 * time.Millisecond, time.Minute
	status := func(which func(*http.Request) bool, code int) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if !which(r) {
				return false
			}
			front.hit()
			w.WriteHeader(code)
			return true
		}
	}
	for name, c := range map[string]struct {
		spoil func(w http.ResponseWriter, r *http.Request) bool
		want  string // empty: it succeeds all the same
	}{
		"cut after some bytes": {func(_ http.ResponseWriter, r *http.Request) bool {
			if upload(r) {
				front.hit()
				r.Body = &cutBody{r.Body, 300}
			}
			return false
		}, "cut the connection"},
		"cut at once": {func(_ http.ResponseWriter, r *http.Request) bool {
			if upload(r) {
				front.hit()
				panic(http.ErrAbortHandler)
			}
			return false
		}, "cut the connection"},
		"500 for a blob":        {status(upload, 500), "the registry failed (500 Internal Server Error)"},
		"503 for a manifest":    {status(manifestOf, 503), "the registry failed (503 Service Unavailable)"},
		"507, the disk is full": {status(upload, 507), "the registry failed (507 Insufficient Storage)"},
		"manifest cut": {func(_ http.ResponseWriter, r *http.Request) bool {
			if manifestOf(r) {
				front.hit()
				r.Body = &cutBody{r.Body, 300}
			}
			return false
		}, "cut the connection"},
		"silent": {func(_ http.ResponseWriter, r *http.Request) bool {
			if upload(r) {
				front.hit()
				<-front.ended() // a server sees a client go only when it reads
				panic(http.ErrAbortHandler)
			}
			return false
		}, "the registry has neither taken nor said anything for 400ms"},
		"500 once": {func(w http.ResponseWriter, r *http.Request) bool {
			if upload(r) && front.seen() == 0 {
				front.hit()
				w.WriteHeader(500)
				return true
			}
			return false
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRepo(t)
			r.module("acme_lane", lane)
			r.write("addons/acme_lane/unique.txt", name+strings.Repeat(name, 1000))
			r.commit("x")
			patience := long
			if name == "silent" {
				patience = brief
			}
			tag := "r-" + strings.NewReplacer(" ", "-", ",", "").Replace(name)
			options := Options{Source: r.dir, Repository: "acme", Name: tag, Series: "19.0", Cache: cache,
				Registry: Registry{Host: front.Listener.Addr().String(), User: "u", Password: "p", patience: patience,
					retry: &remote.Backoff{Duration: time.Millisecond, Factor: 2, Steps: 2}}}
			manifests := revisions(t, images)
			front.set(c.spoil)
			var rel, err = Build(t.Context(), options)
			require.Positive(t, front.seen(), "the fault came to pass")
			if c.want != "" {
				require.ErrorContains(t, err, c.want)
				require.ErrorContains(t, err, "No release was made; build again")
				require.Equal(t, manifests, revisions(t, images), "no manifest and no tag")
				_, err = ReadRelease(t.Context(), "acme:"+tag, options.Registry)
				require.ErrorContains(t, err, "it is not there")

				front.set(nil)
				options.Registry.patience = long
				rel, err = Build(t.Context(), options)
			}
			require.NoError(t, err, "the next build works")
			read, err := ReadRelease(t.Context(), "acme:"+tag, options.Registry)
			require.NoError(t, err)
			require.Equal(t, rel, read)
			c, err := Reproduce(t.Context(), ReproduceOptions{Ref: "acme@" + rel.Digest, Source: r.dir, Registry: options.Registry, Cache: cache})
			require.NoError(t, err)
			require.True(t, c.Same, "what was sent in pieces is whole")
		})
	}
}

// revisions lists the manifests and tags that the registry keeps of the product.
func revisions(t *testing.T, images string) []string {
	t.Helper()
	var list []string
	require.NoError(t, filepath.WalkDir(images, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.Contains(path, "/repositories/acme/_manifests/") {
			list = append(list, strings.TrimPrefix(path, images))
		}
		return err
	}))
	return list
}

// A registry that never ends its answer fills no memory.
func TestRegistryThatAnswersForEver(t *testing.T) {
	endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		if r.Method == "HEAD" || r.URL.Path == "/v2/" {
			return
		}
		io.WriteString(w, `{"schemaVersion": 2, "annotations": {"x": "`)
		for line := []byte(strings.Repeat("x", 1<<16)); ; {
			if _, err := w.Write(line); err != nil {
				return
			}
		}
	}))
	t.Cleanup(endless.Close)
	boundedMemory(t, 100<<20, func() {
		_, err := ReadRelease(t.Context(), "acme:r1", Registry{Host: endless.Listener.Addr().String()})
		require.ErrorContains(t, err, "the registry's answer has more than 8 MB")
	})
}

// A configuration that is announced with any size is not read.
func TestRegistryThatAnnouncesMuch(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		fmt.Fprintf(w, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","size":%d,"digest":"sha256:%064d"},"layers":[]}`, int64(1)<<40, 1)
	}))
	t.Cleanup(server.Close)
	b := setup(t)
	b.repo.module("acme_lane", lane)
	b.repo.commit("one")
	b.options.Base = server.Listener.Addr().String() + "/odoo:19.0"
	_, err := Build(t.Context(), b.options)
	require.ErrorContains(t, err, "its configuration is announced with 1099511627776 bytes; at most 8 MB are read")
	require.NoError(t, os.RemoveAll(b.options.Cache))
}
