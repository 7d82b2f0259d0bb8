//go:build docker

package registry

import (
	"context"
	"encoding/json"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"
)

// TestDockerPulls lets a real Docker Engine pull without credentials and without TLS.
func TestDockerPulls(t *testing.T) {
	docker, err := client.New(client.FromEnv)
	require.NoError(t, err)
	defer docker.Close()
	if _, err := docker.Ping(t.Context(), client.PingOptions{}); err != nil {
		t.Fatalf("no Docker Engine answers (%v): apt-get install -y docker.io, start dockerd, and set DOCKER_HOST where its socket is elsewhere", err)
	}
	b := setup(t)
	img := image(t)
	digest, err := img.Digest()
	require.NoError(t, err)
	require.NoError(t, remote.Write(b.ref(t, "wbregistrytest:r1"), img, b.user))
	ref := b.host + "/wbregistrytest@" + digest.String()
	pull, err := docker.ImagePull(t.Context(), ref, client.ImagePullOptions{})
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, pull)
	require.NoError(t, err)
	require.NoError(t, pull.Close())
	t.Cleanup(func() {
		_, err := docker.ImageRemove(context.Background(), ref, client.ImageRemoveOptions{Force: true})
		require.NoError(t, err)
	})
	inspected, err := docker.ImageInspect(t.Context(), ref)
	require.NoError(t, err)
	require.Contains(t, strings.Join(inspected.RepoDigests, " "), digest.String())
}

// TestSkopeoReads is a second, independent client.
func TestSkopeoReads(t *testing.T) {
	skopeo, err := exec.LookPath("skopeo")
	require.NoError(t, err, "apt-get install -y skopeo")
	b := setup(t)
	img := image(t)
	require.NoError(t, remote.Write(b.ref(t, "acme:r1"), img, b.user))
	out, err := exec.CommandContext(t.Context(), skopeo, "inspect", "--no-creds", "--tls-verify=false", "docker://"+b.host+"/acme:r1").CombinedOutput()
	require.NoError(t, err, string(out))
	var seen struct {
		Digest   string
		RepoTags []string
		Layers   []string
	}
	require.NoError(t, json.Unmarshal(out, &seen))
	digest, err := img.Digest()
	require.NoError(t, err)
	require.Equal(t, digest.String(), seen.Digest)
	require.Equal(t, []string{"r1"}, seen.RepoTags)
	require.Len(t, seen.Layers, 2)
}
