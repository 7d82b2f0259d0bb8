// Package selfimage makes the image of a program that is linked statically, first of all of Waybill's
// own binary: for the router of the docker runtime, and for Waybill on Kubernetes. It needs no daemon,
// and the same binary gives the same image.
package selfimage

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Push pushes the running binary as an image to the registry (host[:port]) and returns its
// reference by digest. The same binary gives the same image; when the registry has it, nothing
// is sent. It needs a binary built with CGO_ENABLED=0. auth may be nil, and via, which is
// then the way to any registry.
func Push(ctx context.Context, registry string, auth authn.Authenticator, via http.RoundTripper) (ref string, err error) {
	binary, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("image of the waybill binary: find the binary: %w", err)
	}
	return PushBinary(ctx, binary, registry, auth, via)
}

// PushBinary is Push for the file of another binary.
func PushBinary(ctx context.Context, binary, registry string, auth authn.Authenticator, via http.RoundTripper) (string, error) {
	if auth == nil {
		auth = authn.Anonymous
	}
	if via == nil {
		via = remote.DefaultTransport
	}
	sum, err := fileSum(binary)
	if err != nil {
		return "", fmt.Errorf("image of the waybill binary: %w", err)
	}
	repo, err := name.NewRepository(registry + "/waybill/waybill")
	if err != nil {
		return "", fmt.Errorf("image of the waybill binary: registry %q: expected host:port: %w", registry, err)
	}
	tag := repo.Tag("binary-" + sum[:32])
	options := []remote.Option{remote.WithContext(ctx), remote.WithAuth(auth), remote.WithTransport(via)}
	// A tag is written last, so that where it is the whole image is.
	if desc, err := remote.Head(tag, options...); err == nil {
		return repo.Digest(desc.Digest.String()).String(), nil
	} else if e := new(transport.Error); errors.As(err, &e) && (e.StatusCode == http.StatusUnauthorized || e.StatusCode == http.StatusForbidden) {
		return "", fmt.Errorf("image of the waybill binary: registry %s refuses: check the credentials for it: %w", registry, err)
	}
	image, err := Program{Binary: binary, Path: "/waybill"}.Image()
	if err != nil {
		return "", fmt.Errorf("image of the waybill binary %s: %w", binary, err)
	}
	if err := remote.Write(tag, image, options...); err != nil {
		return "", fmt.Errorf("push the image of the waybill binary to registry %s: check that it runs and that the credentials may write: %w", registry, err)
	}
	digest, err := image.Digest()
	if err != nil {
		return "", fmt.Errorf("image of the waybill binary: %w", err)
	}
	return repo.Digest(digest.String()).String(), nil
}

// Program is what an image is made of.
type Program struct {
	Binary string   // file on this machine, linked statically
	Path   string   // in the image, for example "/usr/bin/waybill"
	Base   v1.Image // what it is put on; nil: nothing
	User   string   // uid[:gid] that it runs as; empty: as the base says
	Dir    string   // working directory; empty: as the base says
}

// Image is an image with the program in a layer of its own, which is started without arguments.
// Nothing in it depends on time or machine.
func (p Program) Image() (v1.Image, error) {
	if err := checkStatic(p.Binary); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return p.tar() },
		tarball.WithCompressionLevel(gzip.BestSpeed), tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	image := p.Base
	if image == nil {
		image = mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	}
	if image, err = mutate.AppendLayers(image, layer); err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	if p.Base == nil {
		config.Created = v1.Time{Time: time.Unix(0, 0).UTC()}
	}
	config.Config.Entrypoint, config.Config.Cmd = []string{p.Path}, nil
	if p.User != "" {
		config.Config.User = p.User
	}
	if p.Dir != "" {
		config.Config.WorkingDir = p.Dir
	}
	return mutate.ConfigFile(image, config)
}

func (p Program) tar() (io.ReadCloser, error) {
	f, err := os.Open(p.Binary)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	pr, pw := io.Pipe()
	go func() {
		defer f.Close()
		w := tar.NewWriter(pw)
		err := w.WriteHeader(&tar.Header{Name: strings.TrimPrefix(p.Path, "/"), Typeflag: tar.TypeReg, Mode: 0o755, Size: info.Size(), ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR})
		if err == nil {
			_, err = io.CopyN(w, f, info.Size())
		}
		if err == nil {
			err = w.Close()
		}
		pw.CloseWithError(err) // with nil: EOF
	}()
	return pr, nil // closing it ends the goroutine
}

func fileSum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// checkStatic refuses a binary that needs a dynamic loader: the image has none.
func checkStatic(path string) error {
	f, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("%s is not a Linux binary: %w", path, err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%s is linked dynamically and cannot run alone in an image: build it with CGO_ENABLED=0", path)
		}
	}
	return nil
}
