//go:build odoo

package build

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/odoo"
	"github.com/waybill-dev/waybill/internal/registry"
	"github.com/waybill-dev/waybill/internal/release"
)

// TestRealBase builds on the real Odoo 19.0. WAYBILL_BASE names it: oci:FOLDER or rootfs:FILE.
func TestRealBase(t *testing.T) {
	reg, options := realSetup(t)
	base, cache := os.Getenv("WAYBILL_BASE"), options.Cache
	start := time.Now()
	digest, err := ImportBase(t.Context(), base, reg, "odoo:19.0")
	require.NoError(t, err)
	require.Less(t, time.Since(start), 5*time.Second, "nothing is sent twice")

	start = time.Now()
	rel, err := Build(t.Context(), options)
	require.NoError(t, err)
	t.Logf("built in %s", time.Since(start))
	require.Equal(t, digest, rel.Base.Digest)
	require.Equal(t, "python3.13", rel.Base.Python)
	require.Equal(t, []string{"/usr/lib/python3/dist-packages/odoo/addons"}, rel.Base.AddonsPaths)
	require.Greater(t, len(rel.Base.Modules), 600)

	start = time.Now()
	second, err := Build(t.Context(), options)
	require.NoError(t, err)
	require.Equal(t, rel, second)
	require.Less(t, time.Since(start), 10*time.Second, "the scan is remembered")

	read, err := ReadRelease(t.Context(), "acme@"+rel.Digest, reg)
	require.NoError(t, err)
	require.Equal(t, rel, read)

	// The files on disk, unpacked without the scan, have the same checksums.
	names := []string{"base", "stock", "sale_stock", "mail", "web"}
	root := unpack(t, reg, rel.Base.AddonsPaths[0], names)
	for _, rule := range []odoo.ChecksumRule{{}, {Languages: []string{"en_US", "fr_BE"}}} {
		start = time.Now()
		sums, err := Checksums(t.Context(), "acme:r1", rule, reg, cache)
		require.NoError(t, err)
		t.Logf("checksums in %s", time.Since(start))
		for _, name := range names {
			sum, err := odoo.Checksum(diskFiles(t, filepath.Join(root, name)), rule)
			require.NoError(t, err)
			require.Equal(t, sum, sums[name], name)
		}
	}
}

// realSetup serves a registry with the real base in it, and a source to build.
func realSetup(t *testing.T) (Registry, Options) {
	t.Helper()
	base := os.Getenv("WAYBILL_BASE")
	if base == "" {
		t.Fatal("WAYBILL_BASE is not set; run: hack/base/build.sh && export WAYBILL_BASE=oci:$(hack/base/build.sh --path)")
	}
	handler, err := registry.Handler(t.TempDir(), func(user, password string) bool { return user == "u" && password == "p" })
	require.NoError(t, err)
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	reg := Registry{Host: server.Listener.Addr().String(), User: "u", Password: "p"}

	_, err = ImportBase(t.Context(), base, reg, "odoo:19.0")
	require.NoError(t, err)
	repo := newRepo(t)
	repo.module("acme_lane", `{'name': 'Lane', 'version': '1.0', 'author': 'Acme', 'license': 'LGPL-3', 'depends': ['stock', 'sale_stock']}`)
	repo.commit("lane")
	return reg, Options{Source: repo.dir, Repository: "acme", Name: "r1", Series: "19.0", Registry: reg, Cache: t.TempDir(), Progress: t.Logf}
}

// TestRealImageRunsOdoo starts what was built, as its own user, with a configuration as a pool gets
// it, and asks Odoo what it made of both.
func TestRealImageRunsOdoo(t *testing.T) {
	docker := func(args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), "docker", args...).CombinedOutput()
		require.NoError(t, err, "docker %v: %s", args, out)
		return string(out)
	}
	reg, options := realSetup(t)
	rel, err := Build(t.Context(), options)
	require.NoError(t, err)
	ref := reg.Host + "/acme@" + rel.Digest
	docker("pull", "-q", ref)
	t.Cleanup(func() { exec.Command("docker", "rmi", "-f", ref).Run() })

	info, err := odoo.Series("19.0", false)
	require.NoError(t, err)
	conf, err := odoo.Conf{
		Series: info, AddonsPaths: rel.Base.AddonsPaths, Host: "/run/waybill/pg", User: "pool", Password: "s3cret",
		Workers: 2, CronThreads: 1, Settings: map[string]string{"limit_time_cpu": "600"},
	}.Render()
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "odoo.conf"), conf, 0o644))
	require.NoError(t, os.Chmod(filepath.Join(dir, "odoo.conf"), 0o644)) // whatever the mask
	const ask = `
import json, os
from odoo.tools import config
config.parse_config(["--config=/etc/waybill/odoo.conf"], setup_logging=True)
from odoo.modules.module import Manifest
print("ANSWER " + json.dumps({
    "uid": os.getuid(), "home": os.environ["HOME"], "load": config["server_wide_modules"], "data_dir": config["data_dir"],
    "list_db": config["list_db"], "cpu": config["limit_time_cpu"], "workers": config["workers"], "password": config["db_password"],
    "lane": Manifest.for_addon("acme_lane").version, "probe": Manifest.for_addon("waybill_probe") is not None,
    "versions": {m.name: m.version for m in Manifest.all_addon_manifests() if m["installable"]},
}))`
	out := docker("run", "--rm", "--name", "wbbuildtest-ask", "--network=none", "--tmpfs=/var/lib/odoo:uid=10001", "-v", dir+":/etc/waybill:ro", ref, "python3", "-c", ask)
	log, answer, ok := strings.Cut(out, "ANSWER ")
	require.True(t, ok, out)
	require.NotContains(t, log, "WARNING", "Odoo knows every option and finds every addons path")
	var got struct {
		UID      int
		Home     string
		Load     []string
		DataDir  string `json:"data_dir"`
		ListDB   bool   `json:"list_db"`
		CPU      int
		Workers  int
		Password string
		Lane     string
		Probe    bool
		Versions map[string]string
	}
	require.NoError(t, json.Unmarshal([]byte(answer), &got))
	require.Equal(t, 10001, got.UID)
	require.Equal(t, "/var/lib/odoo", got.Home)
	require.Equal(t, "/var/lib/odoo", got.DataDir)
	require.Equal(t, []string{"base", "rpc", "web", "waybill_probe"}, got.Load)
	require.False(t, got.ListDB)
	require.Equal(t, 600, got.CPU)
	require.Equal(t, 2, got.Workers)
	require.Equal(t, "s3cret", got.Password)
	require.Equal(t, "19.0.1.0", got.Lane)
	require.True(t, got.Probe)
	// Odoo itself finds the modules and versions that the release names, and no other.
	delete(got.Versions, "waybill_probe")
	want := map[string]string{}
	for _, list := range [][]release.Module{rel.Modules, rel.Base.Modules} {
		for _, m := range list {
			want[m.Name] = m.Version
		}
	}
	require.Equal(t, want, got.Versions)
}

// unpack writes some modules of the base to disk, with tar and nothing of ours.
func unpack(t *testing.T, reg Registry, addons string, names []string) string {
	t.Helper()
	ref, err := reg.reference("odoo:19.0")
	require.NoError(t, err)
	img, err := remote.Image(ref)
	require.NoError(t, err)
	layers, err := img.Layers()
	require.NoError(t, err)
	require.Len(t, layers, 1)
	content, err := layers[0].Uncompressed()
	require.NoError(t, err)
	defer content.Close()
	dir := t.TempDir()
	args := []string{"-x", "-C", dir}
	for _, name := range names {
		args = append(args, "."+addons+"/"+name)
	}
	tar := exec.CommandContext(t.Context(), "tar", args...)
	tar.Stdin = content
	out, err := tar.CombinedOutput()
	require.NoError(t, err, string(out))
	return filepath.Join(dir, addons)
}
