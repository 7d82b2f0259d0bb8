// Command loadbase puts the base image from the cache into the Docker Engine, for the tests that
// start containers of it directly: loadbase oci:FOLDER NAME:TAG. It pulls through a registry of its
// own, so that the engine shares the layers with everything that is built on the base.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/moby/moby/client"

	"github.com/waybill-dev/waybill/internal/build"
	"github.com/waybill-dev/waybill/internal/registry"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: loadbase oci:FOLDER NAME:TAG")
		os.Exit(2)
	}
	if err := load(context.Background(), os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "loadbase:", err)
		os.Exit(1)
	}
}

func load(ctx context.Context, source, name string) error {
	engine, err := client.New(client.FromEnv)
	if err != nil {
		return err
	}
	defer func() { _ = engine.Close() }()
	folder, err := os.MkdirTemp("", "loadbase")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	handler, err := registry.Handler(folder, func(_, password string) bool { return password == "x" })
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler} //nolint:gosec // on loopback, for as long as this program runs
	defer func() { _ = server.Close() }()
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintln(os.Stderr, "loadbase:", err)
		}
	}()
	host := listener.Addr().String()
	digest, err := build.ImportBase(ctx, source, build.Registry{Host: host, Plain: true, User: "loadbase", Password: "x"}, name)
	if err != nil {
		return err
	}
	repository, _, _ := strings.Cut(name, ":")
	ref := host + "/" + repository + "@" + digest
	pulled, err := engine.ImagePull(ctx, ref, client.ImagePullOptions{})
	if err != nil {
		return fmt.Errorf("let the Docker Engine pull %s: %w", ref, err)
	}
	defer func() { _ = pulled.Close() }()
	if err := pulled.Wait(ctx); err != nil {
		return fmt.Errorf("let the Docker Engine pull %s: %w", ref, err)
	}
	_, _ = io.Copy(io.Discard, pulled)
	_, err = engine.ImageTag(ctx, client.ImageTagOptions{Source: ref, Target: name})
	return err
}
