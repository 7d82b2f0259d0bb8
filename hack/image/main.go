// Command image makes the image of Waybill's own server: its static binary on a small Debian.
//
//	go run ./hack/image -base LAYOUT -binary bin/waybill -out LAYOUT
//	go run ./hack/image -base LAYOUT -binary bin/waybill -push HOST/REPOSITORY:TAG
//
// The same binary on the same base gives the same digest, which it prints.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/waybill-dev/waybill/internal/selfimage"
)

// user is who the server runs as; hack/image/base.sh makes it.
const user = "65532:65532"

func main() {
	base := flag.String("base", "", "OCI layout that the binary is put on")
	binary := flag.String("binary", "bin/waybill", "static binary")
	out := flag.String("out", "", "folder for an OCI layout")
	push := flag.String("push", "", "HOST/REPOSITORY:TAG to push to")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *base, *binary, *out, *push); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, base, binary, out, push string) error {
	if base == "" || (out == "") == (push == "") {
		return errors.New("usage: image -base LAYOUT [-binary FILE] -out LAYOUT | -push HOST/REPOSITORY:TAG")
	}
	under, err := first(base)
	if err != nil {
		return err
	}
	img, err := selfimage.Program{Binary: binary, Path: "/usr/bin/waybill", Base: under, User: user, Dir: "/var/lib/waybill"}.Image()
	if err != nil {
		return err
	}
	digest, err := img.Digest()
	if err != nil {
		return err
	}
	if push != "" {
		tag, err := name.NewTag(push)
		if err != nil {
			return err
		}
		if err := remote.Write(tag, img, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
			return fmt.Errorf("push %s: %w", push, err)
		}
		fmt.Println(tag.Context().Digest(digest.String()))
		return nil
	}
	if _, err := os.Stat(out); err == nil {
		if _, err := first(out); err != nil {
			return fmt.Errorf("%s is there and is not taken away, because it is no image of ours: %w", out, err)
		}
		if err := os.RemoveAll(out); err != nil {
			return err
		}
	}
	path, err := layout.Write(out, empty.Index)
	if err == nil {
		err = path.AppendImage(img)
	}
	if err != nil {
		return fmt.Errorf("write the layout %s: %w", out, err)
	}
	fmt.Println(out + "@" + digest.String())
	return nil
}

// first is the one image of a layout.
func first(folder string) (v1.Image, error) {
	index, err := layout.ImageIndexFromPath(folder)
	if err != nil {
		return nil, fmt.Errorf("%s is no OCI layout: %w", folder, err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", folder, err)
	}
	if len(manifest.Manifests) != 1 {
		return nil, fmt.Errorf("%s holds %d images, not one", folder, len(manifest.Manifests))
	}
	return index.Image(manifest.Manifests[0].Digest)
}
