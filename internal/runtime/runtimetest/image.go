package runtimetest

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/stretchr/testify/require"
)

// StandIn builds the image that stands in for Odoo and for the router: one static program, at
// /usr/bin/odoo and at /waybill. It needs the Go toolchain.
func StandIn(t *testing.T) v1.Image {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "standin")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, "github.com/waybill-dev/waybill/internal/runtime/runtimetest/testdata/standin")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "build the stand-in: %s", out)
	content, err := os.ReadFile(binary)
	require.NoError(t, err)

	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for _, name := range []string{"usr/bin/odoo", "waybill"} {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(content))}))
		_, err := w.Write(content)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil })
	require.NoError(t, err)
	image, err := mutate.AppendLayers(empty.Image, l)
	require.NoError(t, err)
	config, err := image.ConfigFile()
	require.NoError(t, err)
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", goruntime.GOARCH
	// Like the official Odoo image, an entrypoint that must not come between.
	config.Config.Entrypoint = []string{"/no-such-entrypoint"}
	image, err = mutate.ConfigFile(image, config)
	require.NoError(t, err)
	return image
}
