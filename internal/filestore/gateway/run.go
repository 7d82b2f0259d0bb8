package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"gocloud.dev/blob"

	"github.com/waybill-dev/waybill/internal/filestore"
)

const (
	// How long a gateway that is told to end goes on while /readyz says so: a cluster takes a moment to send nobody there any more.
	linger = 5 * time.Second
	// And how long requests in flight have then. Together less than the half minute that Kubernetes gives a pod.
	finish = 20 * time.Second

	keySize = 32 // bytes
)

// Run is a gateway before a bucket, with the key in a file, until ctx is done.
func Run(ctx context.Context, listen, bucketURL, keyFile string, log *slog.Logger) error {
	key, err := ReadKey(keyFile)
	if err != nil {
		return err
	}
	bucket, err := filestore.OpenBucket(ctx, bucketURL)
	if err != nil {
		return err
	}
	defer bucket.Close()
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", listen, err)
	}
	return New(Options{Key: key, Store: InBucket(bucket), Ready: Listed(bucket), Log: log}).serveOn(ctx, l, linger)
}

// InBucket is where Waybill has the filestores of a bucket: PREFIX SEGMENT "/".
func InBucket(bucket *blob.Bucket) func(prefix, database string) filestore.Store {
	return func(prefix, database string) filestore.Store {
		return filestore.InBucket(bucket, prefix+Segment(database)+"/")
	}
}

// Listed says whether the bucket can be listed.
func Listed(bucket *blob.Bucket) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := bucket.List(nil).Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
}

// Server serves a gateway, with patience for slow clients: what a content may take depends on its size, see get and put.
func Server(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10}
}

// serveOn serves on a listener, which it closes, until ctx is done.
func (g *Gateway) serveOn(ctx context.Context, l net.Listener, linger time.Duration) error {
	server := Server(g)
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	g.Log.Info("gateway listens", "address", l.Addr().String())
	select {
	case err := <-failed:
		return fmt.Errorf("listen on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	close(g.ending)
	select {
	case err := <-failed:
		return fmt.Errorf("listen on %s: %w", l.Addr(), err)
	case <-time.After(linger):
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), finish)
	defer cancel()
	if err := server.Shutdown(end); err != nil {
		g.Log.Warn("requests were cut off: they outlived the gateway's end")
		return server.Close()
	}
	return nil
}

// ReadKey reads the key of tokens: 32 bytes, or a text of at least that many, where white space around it does not count.
func ReadKey(path string) ([]byte, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the key of the tokens: %w", err)
	}
	if len(content) == keySize {
		return content, nil
	}
	key := bytes.TrimSpace(content)
	for _, c := range key {
		if c < '!' || c > '~' {
			return nil, fmt.Errorf("%s is no key of tokens: expected %d bytes, or one line of letters, digits and signs", path, keySize)
		}
	}
	if len(key) < keySize {
		return nil, fmt.Errorf("%s is no key of tokens: it has %d characters, expected at least %d", path, len(key), keySize)
	}
	return key, nil
}
