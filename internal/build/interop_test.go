//go:build odoo

package build

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/odoo"
)

// run runs a program of the machine and returns what it printed.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not installed; run: hack/setup.sh packages", name)
	}
	var complaints strings.Builder
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	require.NoError(t, err, "%s %v: %s", name, args, complaints.String())
	return string(out)
}

// TestOthersAcceptTheImage hands what was built to those who did not write Waybill: skopeo, umoci and
// the Docker Engine, each of which checks digests and reads the layers on its own.
func TestOthersAcceptTheImage(t *testing.T) {
	reg, options := realSetup(t)
	rel, err := Build(t.Context(), options)
	require.NoError(t, err)
	ref := reg.Host + "/acme@" + rel.Digest

	var seen struct {
		Digest, Os string
		Layers     []string
		Labels     map[string]string
	}
	require.NoError(t, json.Unmarshal([]byte(run(t, "skopeo", "inspect", "--tls-verify=false", "docker://"+ref)), &seen))
	require.Equal(t, rel.Digest, seen.Digest)
	require.Equal(t, "linux", seen.Os)
	require.Len(t, seen.Layers, 3)
	require.Equal(t, rel.Commit, seen.Labels["org.opencontainers.image.revision"])
	raw := run(t, "skopeo", "inspect", "--raw", "--tls-verify=false", "docker://"+ref)
	require.Equal(t, rel.Digest, fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(raw))))

	folder := t.TempDir()
	run(t, "skopeo", "copy", "-q", "--src-tls-verify=false", "docker://"+ref, "oci:"+folder+"/layout:r1")
	unpack := []string{"unpack", "--image", folder + "/layout:r1", folder + "/bundle"}
	if os.Geteuid() != 0 {
		unpack = append(unpack, "--rootless")
	}
	run(t, "umoci", unpack...)
	addons := filepath.Join(folder, "bundle", "rootfs", bridge.AddonsPath, "acme_lane")
	sum, err := odoo.Checksum(diskFiles(t, addons), odoo.ChecksumRule{})
	require.NoError(t, err)
	require.Equal(t, rel.Modules[0].Checksum, sum)
	info, err := os.Stat(filepath.Join(addons, "models", "model.py"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o644), info.Mode(), "whatever the mask")
	require.True(t, info.ModTime().Equal(rel.Created), "%s", info.ModTime())
	var config struct {
		Process struct{ User struct{ UID, GID int } }
	}
	content, err := os.ReadFile(filepath.Join(folder, "bundle", "config.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(content, &config))
	require.Equal(t, 10001, config.Process.User.UID)

	const name = "wbbuildtest-version"
	run(t, "docker", "pull", "-q", ref)
	t.Cleanup(func() {
		exec.Command("docker", "rm", "-f", name).Run()
		exec.Command("docker", "rmi", "-f", ref).Run()
	})
	run(t, "docker", "create", "--name", name, "--network=none", ref, "odoo", "--version")
	require.Regexp(t, `^Odoo Server 19\.0`, strings.TrimSpace(run(t, "docker", "start", "-a", name)))

	// And it is built again from the registry alone.
	c, err := Reproduce(t.Context(), ReproduceOptions{Ref: "acme@" + rel.Digest, Source: options.Source, Registry: reg, Cache: options.Cache})
	require.NoError(t, err)
	require.True(t, c.Same, "%+v", c.Differences)
	require.Equal(t, rel.Digest, c.Rebuilt)
}
