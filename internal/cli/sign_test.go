package cli

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/attest"
	"github.com/waybill-dev/waybill/internal/build"
	"github.com/waybill-dev/waybill/internal/keys"
	"github.com/waybill-dev/waybill/internal/registry"
	"github.com/waybill-dev/waybill/internal/release"
)

// yard is a registry with a base, a repository with an addon, and a data folder with a signing key.
type yard struct {
	t    *testing.T
	data string
	o    build.Options
	cut  atomic.Bool // the registry refuses manifests that refer to another
}

func newYard(t *testing.T) *yard {
	t.Helper()
	y := &yard{t: t, data: t.TempDir()}
	require.NoError(t, os.Mkdir(filepath.Join(y.data, "keys"), 0o700))
	require.NoError(t, keys.MakeSigning(filepath.Join(y.data, "keys")))
	images, err := registry.Handler(t.TempDir(), func(user, _ string) bool { return user == "u" })
	require.NoError(t, err)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if y.cut.Load() && r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/") {
			body, _ := io.ReadAll(r.Body)
			if bytes.Contains(body, []byte(`"subject"`)) {
				http.Error(w, "disk full", http.StatusInsufficientStorage)
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
		}
		images.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	source := t.TempDir()
	for name, content := range map[string]string{"__manifest__.py": "{'name': 'X', 'version': '19.0.1.0.0', 'depends': ['base']}", "__init__.py": ""} {
		path := filepath.Join(source, "addons", "x", name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
	}
	for _, args := range [][]string{{"init", "-q", "-b", "main"}, {"add", "-A"},
		{"-c", "user.name=A", "-c", "user.email=a@example.com", "commit", "-q", "--no-gpg-sign", "-m", "x"},
		{"remote", "add", "origin", "https://somebody:hunter2@git.example.com/acme/erp.git"}} {
		cmd := exec.Command("git", args...)
		cmd.Dir = source
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
	}
	y.o = build.Options{Source: source, Repository: "acme", Name: "r1", Series: "19.0", Addons: []string{"addons"}, Cache: t.TempDir(),
		Base: "rootfs:" + rootfs(t), Registry: build.Registry{Host: server.Listener.Addr().String(), User: "u", Password: "p"}}
	return y
}

// rootfs is the tar of a root file system with as little of Odoo as a build looks at.
func rootfs(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	odoo := "usr/lib/python3/dist-packages/odoo/"
	for _, file := range [][2]string{
		{"usr/bin/python3.13", ""},
		{"var/lib/dpkg/status", "Package: odoo-19\nStatus: install ok installed\nArchitecture: all\nVersion: 19.0.0+dfsg-1\n"},
		{odoo + "release.py", "FINAL = 'final'\nversion_info = (19, 0, 0, FINAL, 0, '')\n"},
		{odoo + "addons/base/__manifest__.py", "{'name': 'Base', 'version': '1.3', 'installable': True}"},
		{odoo + "addons/base/__init__.py", ""},
	} {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: file[0], Mode: 0o644, Size: int64(len(file[1])), ModTime: time.Unix(1700000000, 0)}))
		_, err := io.WriteString(w, file[1])
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	path := filepath.Join(t.TempDir(), "rootfs.tar")
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o644))
	return path
}

// build does what waybill build does between reading the estate and telling the server.
func (y *yard) build(s signing) (release.Release, []attest.Attached, error) {
	y.t.Helper()
	require.NoError(y.t, s.open(y.t.Context(), &app{data: y.data}))
	built, err := s.build(y.t.Context(), y.o)
	require.NoError(y.t, err)
	attached, err := attestBuild(y.t.Context(), y.o, built, &s, time.Now())
	return built, attached, err
}

func (y *yard) verify(args ...string) (verified, string, int) {
	y.t.Helper()
	out, said, code := said(y.t, append([]string{"release", "verify", "--data", y.data, "-o", "json"}, args...)...)
	var v verified
	if code != exitUsage {
		require.NoError(y.t, json.Unmarshal([]byte(out), &v), "%s %s", out, said)
	}
	return v, said, code
}

// A build whose attestations do not get through says so, and the same build again completes it, once.
func TestBuildIsSignedOrFails(t *testing.T) {
	y := newYard(t)
	y.cut.Store(true)
	built, _, err := y.build(signing{})
	require.ErrorContains(t, err, "it is not signed")
	require.ErrorContains(t, err, "Run the same build again")
	ref := y.o.Registry.Host + "/acme@"
	v, _, code := y.verify(y.o.Registry.Host + "/acme:r1")
	require.Equal(t, exitFailed, code)
	require.Equal(t, attest.NoAttestation, v.Refusals[0].Code)

	y.cut.Store(false)
	again, attached, err := y.build(signing{})
	require.NoError(t, err)
	require.Equal(t, built.Digest, again.Digest)
	require.Len(t, attached, 2, "bill of materials and provenance")
	_, attached, err = y.build(signing{})
	require.NoError(t, err)
	for _, a := range attached {
		require.True(t, a.Before, "nothing is attached twice")
	}
	v, _, code = y.verify(ref + built.Digest)
	require.Equal(t, exitDone, code)
	require.Len(t, v.Attestations, 2)
	require.Equal(t, "intact", v.Content)
	require.Equal(t, "https://git.example.com/acme/erp.git", v.Attestations[0].Source, "no password")
}

func TestVerifyByKeyEstateAndLayout(t *testing.T) {
	y := newYard(t)
	ci := filepath.Join(t.TempDir(), "ci.pem")
	_, says, code := said(t, "key", "new", ci)
	require.Equal(t, exitDone, code, says)
	built, _, err := y.build(signing{key: ci, builder: "https://ci.example.com/release"})
	require.NoError(t, err)
	ref := y.o.Registry.Host + "/acme@" + built.Digest

	_, _, code = y.verify(ref, "--key", ci+".pub")
	require.Equal(t, exitDone, code)
	v, _, code := y.verify(ref)
	require.Equal(t, exitFailed, code, "the data folder's own key has not signed it")
	require.Equal(t, attest.UnknownKey, v.Refusals[0].Code)

	folder := t.TempDir()
	public, err := os.ReadFile(ci + ".pub")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "ci.pub"), public, 0o644))
	declare := func(trust string) {
		require.NoError(t, os.WriteFile(filepath.Join(folder, "estate.yaml"), []byte("kind: Product\nname: acme\nseries: \"19.0\"\nenvironments: [test]\n---\nkind: Environment\nname: test\nruntime: {docker: {http: \"127.0.0.1:8079\"}}\n---\n"+trust), 0o644))
	}
	declare("kind: Trust\nkeys: [{name: ci, file: ci.pub}]\nbuilders: [\"https://ci.example.com/release\"]\nrequire: [provenance, sbom]\n")
	v, says, code = y.verify(ref, "--estate", folder)
	require.Equal(t, exitDone, code, says)
	require.Equal(t, "ci", v.Attestations[0].KeyName)
	declare("kind: Trust\nkeys: [{name: ci, file: ci.pub}]\nrequire: [provenance, checks]\n")
	v, _, code = y.verify(ref, "--estate", folder)
	require.Equal(t, exitFailed, code)
	require.Equal(t, attest.NoAttestation, v.Refusals[0].Code)

	dir := y.copyToLayout(built.Digest)
	v, _, code = y.verify("oci:"+dir, "--key", ci+".pub")
	require.Equal(t, exitDone, code)
	require.Len(t, v.Attestations, 2)
	image, err := layout.ImageIndexFromPath(dir)
	require.NoError(t, err)
	hash, err := v1.NewHash(built.Digest)
	require.NoError(t, err)
	found, err := image.Image(hash)
	require.NoError(t, err)
	m, err := found.Manifest()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "blobs", "sha256", m.Layers[0].Digest.Hex), []byte("edited"), 0o644))
	v, _, code = y.verify("oci:"+dir+"@"+built.Digest, "--key", ci+".pub")
	require.Equal(t, exitFailed, code)
	require.Equal(t, "altered", v.Content)
}

// copyToLayout puts an image and what refers to it into an OCI layout, as copying tools do.
func (y *yard) copyToLayout(digest string) string {
	y.t.Helper()
	dir := filepath.Join(y.t.TempDir(), "layout")
	path, err := layout.Write(dir, empty.Index)
	require.NoError(y.t, err)
	ref, auth, err := y.o.Registry.Locate("acme@" + digest)
	require.NoError(y.t, err)
	index, err := remote.Referrers(ref.Context().Digest(digest), remote.WithAuth(auth))
	require.NoError(y.t, err)
	m, err := index.IndexManifest()
	require.NoError(y.t, err)
	digests := []string{digest}
	for _, d := range m.Manifests {
		digests = append(digests, d.Digest.String())
	}
	for _, d := range digests {
		img, err := remote.Image(ref.Context().Digest(d), remote.WithAuth(auth))
		require.NoError(y.t, err)
		require.NoError(y.t, path.AppendImage(img))
	}
	return dir
}

func TestKeyRotate(t *testing.T) {
	y := newYard(t)
	built, _, err := y.build(signing{})
	require.NoError(t, err)
	ref := y.o.Registry.Host + "/acme@" + built.Digest
	var list []shownKey
	out, says, code := said(t, "key", "rotate", "--data", y.data, "-o", "json")
	require.Equal(t, exitDone, code, says)
	require.NoError(t, json.Unmarshal([]byte(out), &list))
	require.Len(t, list, 2)
	require.NotContains(t, out, "PRIVATE")
	_, _, code = y.verify(ref)
	require.Equal(t, exitDone, code, "the old key still counts")
	_, attached, err := y.build(signing{})
	require.NoError(t, err)
	require.False(t, attached[0].Before, "the new key signs anew")
	require.Equal(t, list[0].ID, attached[0].KeyID)
}

func TestSigningMistakes(t *testing.T) {
	empty := t.TempDir()
	require.ErrorContains(t, (&signing{}).open(t.Context(), &app{data: empty}), "waybill key new FILE")
	for name, test := range map[string]struct {
		args []string
		says string
	}{
		"no own key":     {[]string{"key", "show", "--data", empty}, "waybill up makes one"},
		"rotate nothing": {[]string{"key", "rotate", "--data", empty}, "no signing key"},
		"overlap":        {[]string{"key", "rotate", "--overlap", "-1h", "--data", empty}, "--overlap"},
		"two ways":       {[]string{"release", "verify", "x", "--key", "a", "--estate", "b"}, "one of the two"},
		"no key file":    {[]string{"release", "verify", "x", "--key", filepath.Join(empty, "none")}, "read the public key"},
		"no estate":      {[]string{"release", "verify", "x", "--estate", filepath.Join(empty, "none")}, "does not exist"},
	} {
		_, says, code := said(t, test.args...)
		require.Equal(t, exitUsage, code, "%s: %s", name, says)
		require.Contains(t, says, test.says, name)
	}
}
