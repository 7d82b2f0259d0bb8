package selfimage

import (
	"archive/tar"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/stretchr/testify/require"
)

// program is a static binary.
func program(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	require.NoError(t, os.WriteFile(source, []byte("package main\nfunc main() { println(\"alive\") }\n"), 0o600))
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, "binary"), source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return filepath.Join(dir, "binary")
}

func digest(t *testing.T, p Program) string {
	t.Helper()
	img, err := p.Image()
	require.NoError(t, err)
	d, err := img.Digest()
	require.NoError(t, err)
	return d.String()
}

func TestTheSameBinaryGivesTheSameImage(t *testing.T) {
	t.Parallel()
	p := Program{Binary: program(t), Path: "/usr/bin/thing", User: "65532:65532"}
	first := digest(t, p)
	require.NoError(t, os.Chtimes(p.Binary, time.Unix(1, 0), time.Unix(1, 0)))
	require.Equal(t, first, digest(t, p))
	elsewhere := p
	elsewhere.Path = "/thing"
	require.NotEqual(t, first, digest(t, elsewhere))
}

func TestProgramOnABase(t *testing.T) {
	t.Parallel()
	binary := program(t)
	base, err := Program{Binary: binary, Path: "/base"}.Image()
	require.NoError(t, err)
	config, err := base.ConfigFile()
	require.NoError(t, err)
	config = config.DeepCopy()
	config.Config.Env, config.Config.Cmd = []string{"A=1"}, []string{"of the base"}
	base, err = mutate.ConfigFile(base, config)
	require.NoError(t, err)

	img, err := Program{Binary: binary, Path: "/usr/bin/thing", Base: base, User: "65532", Dir: "/work"}.Image()
	require.NoError(t, err)
	config, err = img.ConfigFile()
	require.NoError(t, err)
	require.Equal(t, []string{"/usr/bin/thing"}, config.Config.Entrypoint)
	require.Empty(t, config.Config.Cmd)
	require.Equal(t, []string{"A=1"}, config.Config.Env)
	require.Equal(t, "65532", config.Config.User)
	require.Equal(t, "/work", config.Config.WorkingDir)
	require.Equal(t, []string{"base", "usr/bin/thing"}, files(t, img))
}

// files are the names of everything in the layers, each of which must be as executable as the program.
func files(t *testing.T, img v1.Image) []string {
	t.Helper()
	layers, err := img.Layers()
	require.NoError(t, err)
	var out []string
	for _, layer := range layers {
		content, err := layer.Uncompressed()
		require.NoError(t, err)
		for r := tar.NewReader(content); ; {
			header, err := r.Next()
			if err == io.EOF {
				break
			}
			require.NoError(t, err)
			require.Equal(t, int64(0o755), header.Mode)
			out = append(out, header.Name)
		}
		require.NoError(t, content.Close())
	}
	return out
}

func TestPush(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(registry.New())
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	binary := program(t)
	ref, err := PushBinary(t.Context(), binary, host, nil, nil)
	require.NoError(t, err)
	require.Equal(t, host+"/waybill/waybill@"+digest(t, Program{Binary: binary, Path: "/waybill"}), ref)
	again, err := PushBinary(t.Context(), binary, host, nil, nil)
	require.NoError(t, err)
	require.Equal(t, ref, again)
}

func TestADynamicBinaryIsRefused(t *testing.T) {
	t.Parallel()
	_, err := Program{Binary: "/bin/ls", Path: "/ls"}.Image()
	require.ErrorContains(t, err, "CGO_ENABLED=0")
}
