package registry

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/require"
)

type bundle struct {
	dir  string
	host string
	user remote.Option
}

func setup(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{dir: t.TempDir(), user: remote.WithAuth(&authn.Basic{Username: "waybill", Password: "p"})}
	b.host = serve(t, b.dir)
	return b
}

func serve(t *testing.T, dir string) string {
	t.Helper()
	handler, err := Handler(dir, func(user, password string) bool { return user == "waybill" && password == "p" })
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.Handle("/v2/", handler)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func (b *bundle) ref(t *testing.T, tag string) name.Reference {
	t.Helper()
	ref, err := name.ParseReference(b.host + "/" + tag)
	require.NoError(t, err)
	return ref
}

// image is an OCI image with an annotation, as a release is one.
func image(t *testing.T) v1.Image {
	t.Helper()
	img, err := random.Image(4096, 2)
	require.NoError(t, err)
	img = mutate.ConfigMediaType(mutate.MediaType(img, types.OCIManifestSchema1), types.OCIConfigJSON)
	config, err := img.ConfigFile()
	require.NoError(t, err)
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", "amd64"
	img, err = mutate.ConfigFile(img, config)
	require.NoError(t, err)
	return mutate.Annotations(img, map[string]string{"dev.waybill.release": `{"name":"r1"}`}).(v1.Image)
}

func TestPushAndPull(t *testing.T) {
	b := setup(t)
	img := image(t)
	require.NoError(t, remote.Write(b.ref(t, "acme:r1"), img, b.user))
	want, err := img.Digest()
	require.NoError(t, err)
	pulled, err := remote.Image(b.ref(t, "acme@"+want.String())) // anonymous
	require.NoError(t, err)
	manifest, err := pulled.Manifest()
	require.NoError(t, err)
	require.Equal(t, `{"name":"r1"}`, manifest.Annotations["dev.waybill.release"])

	// What was pushed outlives the process.
	b.host = serve(t, b.dir)
	again, err := remote.Head(b.ref(t, "acme:r1"))
	require.NoError(t, err)
	require.Equal(t, want, again.Digest)
}

func TestWritingNeedsTheUser(t *testing.T) {
	b := setup(t)
	img := image(t)
	require.ErrorContains(t, remote.Write(b.ref(t, "acme:r1"), img), "UNAUTHORIZED")
	wrong := remote.WithAuth(&authn.Basic{Username: "waybill", Password: "x"})
	require.ErrorContains(t, remote.Write(b.ref(t, "acme:r1"), img, wrong), "UNAUTHORIZED")
	_, err := remote.Head(b.ref(t, "acme:r1"))
	require.ErrorContains(t, err, "404")

	handler, err := Handler(t.TempDir(), nil)
	require.NoError(t, err)
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "/v2/acme/blobs/uploads/", nil)
	r.SetBasicAuth("", "")
	handler.ServeHTTP(w, r)
	require.Equal(t, http.StatusUnauthorized, w.Code)
}

func TestNothingIsDeleted(t *testing.T) {
	b := setup(t)
	img := image(t)
	require.NoError(t, remote.Write(b.ref(t, "acme:r1"), img, b.user))
	digest, err := img.Digest()
	require.NoError(t, err)
	require.Error(t, remote.Delete(b.ref(t, "acme@"+digest.String()), b.user))
	_, err = remote.Head(b.ref(t, "acme:r1"))
	require.NoError(t, err)
}

func TestAbandonedUploadsAreTakenAway(t *testing.T) {
	dir := t.TempDir()
	host := serve(t, dir)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+host+"/v2/acme/blobs/uploads/", nil)
	require.NoError(t, err)
	request.SetBasicAuth("waybill", "p")
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	response.Body.Close()
	require.Equal(t, http.StatusAccepted, response.StatusCode)
	started, err := filepath.Glob(filepath.Join(dir, "docker/registry/v2/repositories/acme/_uploads/*/startedat"))
	require.NoError(t, err)
	require.Len(t, started, 1)
	serve(t, dir)
	require.FileExists(t, started[0], "a young one stays")
	require.NoError(t, os.WriteFile(started[0], []byte(time.Now().Add(-48*time.Hour).UTC().Format(time.RFC3339)), 0o600))
	serve(t, dir)
	require.NoFileExists(t, started[0])
}

func TestQuietLog(t *testing.T) {
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	defer slog.SetDefault(before)
	b := setup(t)
	img := image(t)
	require.NoError(t, remote.Write(b.ref(t, "acme:r1"), img, b.user))
	_, err := remote.Image(b.ref(t, "acme:absent"))
	require.Error(t, err)
	require.Empty(t, log.String())
}

func TestFolderThatCannotBeMade(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := Handler(filepath.Join(file, "registry"), nil)
	require.ErrorContains(t, err, "the folder for images")
}
