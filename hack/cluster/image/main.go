// Command image makes an image of one static program and pushes it, for what make cluster runs in pods.
// It prints the reference by digest.
//
//	image -binary FILE -path /PROGRAM -user UID:GID -password FILE HOST/REPOSITORY:TAG
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/waybill-dev/waybill/internal/selfimage"
)

func main() {
	var p selfimage.Program
	flag.StringVar(&p.Binary, "binary", "", "static program on this machine")
	flag.StringVar(&p.Path, "path", "", "where it is in the image")
	flag.StringVar(&p.User, "user", "65532:65532", "whom it runs as")
	password := flag.String("password", "", "file with the registry's password")
	flag.Parse()
	if err := run(p, *password, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(p selfimage.Program, passwordFile string, args []string) error {
	if len(args) != 1 {
		return errors.New("usage: image -binary FILE -path /PROGRAM -password FILE HOST/REPOSITORY:TAG")
	}
	password, err := os.ReadFile(passwordFile)
	if err != nil {
		return err
	}
	tag, err := name.NewTag(args[0], name.Insecure)
	if err != nil {
		return err
	}
	image, err := p.Image()
	if err != nil {
		return err
	}
	auth := remote.WithAuth(&authn.Basic{Username: "waybill", Password: strings.TrimSpace(string(password))})
	if err := remote.Write(tag, image, auth); err != nil {
		return err
	}
	digest, err := image.Digest()
	if err != nil {
		return err
	}
	fmt.Println(tag.Digest(digest.String()).String())
	return nil
}
