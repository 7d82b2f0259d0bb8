package build

import (
	"net/http"
	"path"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// arrived remembers which layers the last image had that was pushed to a repository from here.
type arrived struct {
	known recall
	key   recallKey
}

func (r recall) arrived(in name.Repository) arrived {
	k := newRecallKey("arrived")
	k.add(in.RegistryStr(), in.RepositoryStr())
	return arrived{r, k}
}

func (a arrived) layers() map[string]bool {
	layers := map[string]bool{}
	a.known.get(a.key, &layers)
	return layers
}

func (a arrived) remember(img v1.Image) {
	manifest, err := img.Manifest()
	if err != nil {
		return
	}
	layers := map[string]bool{}
	for _, l := range manifest.Layers {
		layers[l.Digest.String()] = true
	}
	a.known.put(a.key, layers)
}

func (a arrived) forget() { a.known.forget(a.key) }

// supposing answers the questions whether a layer is there that arrived earlier; the registry is asked about all others. It is not
// the last word: a registry refuses a manifest that names what it does not have.
type supposing struct {
	http.RoundTripper
	layers map[string]bool
}

func (s supposing) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Method == http.MethodHead && strings.HasSuffix(path.Dir(request.URL.Path), "/blobs") && s.layers[path.Base(request.URL.Path)] {
		return &http.Response{Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: http.Header{}, Body: http.NoBody, Request: request}, nil
	}
	return s.RoundTripper.RoundTrip(request)
}
