package registry

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"
)

// attached is an image that refers to another.
func attached(t *testing.T, to v1.Image) v1.Image {
	t.Helper()
	d, err := partial.Descriptor(to)
	require.NoError(t, err)
	return mutate.Subject(image(t), *d).(v1.Image)
}

func TestReferrers(t *testing.T) {
	b := setup(t)
	subject := image(t)
	digest, err := subject.Digest()
	require.NoError(t, err)
	of := func(repository string) []v1.Descriptor {
		index, err := remote.Referrers(b.ref(t, repository+"@"+digest.String()).(name.Digest), b.user)
		require.NoError(t, err)
		m, err := index.IndexManifest()
		require.NoError(t, err)
		return m.Manifests
	}
	require.Empty(t, of("acme"), "nothing refers to what is not there yet")

	// What refers may come first.
	first, second := attached(t, subject), attached(t, subject)
	require.NoError(t, remote.Write(b.ref(t, "acme:first"), first, b.user))
	require.NoError(t, remote.Write(b.ref(t, "acme:r1"), subject, b.user))
	require.NoError(t, remote.Write(b.ref(t, "acme:second"), second, b.user))
	require.NoError(t, remote.Write(b.ref(t, "acme:again"), second, b.user))
	require.Len(t, of("acme"), 2, "twice is once")
	require.Empty(t, of("other"), "another repository has others")
	require.Equal(t, `{"name":"r1"}`, of("acme")[0].Annotations["dev.waybill.release"])
	tags, err := remote.List(b.ref(t, "acme").Context(), b.user)
	require.NoError(t, err)
	require.NotContains(t, tags, "sha256-"+digest.Hex, "clients see that they need no index of their own")

	// It outlives the process.
	b.host = serve(t, b.dir)
	require.Len(t, of("acme"), 2)
}

func TestReferrersOverHTTP(t *testing.T) {
	b := setup(t)
	subject := image(t)
	digest, err := subject.Digest()
	require.NoError(t, err)
	require.NoError(t, remote.Write(b.ref(t, "team/acme:a"), attached(t, subject), b.user))
	get := func(path string) (*http.Response, descriptors) {
		t.Helper()
		answer, err := http.Get("http://" + b.host + path)
		require.NoError(t, err)
		defer func() { _ = answer.Body.Close() }()
		var found descriptors
		require.NoError(t, json.NewDecoder(answer.Body).Decode(&found))
		return answer, found
	}
	path := "/v2/team/acme/referrers/" + digest.String()
	answer, found := get(path)
	require.Equal(t, http.StatusOK, answer.StatusCode)
	require.Equal(t, indexType, answer.Header.Get("Content-Type"))
	require.Len(t, found.Manifests, 1)
	answer, found = get(path + "?artifactType=application/vnd.oci.image.config.v1%2Bjson")
	require.Equal(t, "artifactType", answer.Header.Get("OCI-Filters-Applied"))
	require.Len(t, found.Manifests, 1)
	_, found = get(path + "?artifactType=application/other")
	require.Empty(t, found.Manifests)
	for _, bad := range []string{"/v2/acme/referrers/latest", "/v2/acme/referrers/sha256:..%2f..%2fx", "/v2/acme/referrers/sha256:" + digest.Hex[:63]} {
		answer, _ := get(bad)
		require.Equal(t, http.StatusBadRequest, answer.StatusCode, bad)
	}
}

type descriptors struct {
	Manifests []v1.Descriptor `json:"manifests"`
}
