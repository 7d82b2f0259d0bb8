package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

const (
	// How long a gateway that is told to end goes on while /readyz says so: a cluster takes a moment to send nobody there any more.
	linger = 5 * time.Second
	// And how long requests in flight have then. Together less than the half minute that Kubernetes gives a pod.
	stop = 20 * time.Second

	leastKey = 32 // bytes
)

// Run serves until ctx is done.
func (g *Gateway) Run(ctx context.Context, listen string) error {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", listen, err)
	}
	return g.Serve(ctx, l, linger)
}

// Serve is Run on a listener, which it closes.
func (g *Gateway) Serve(ctx context.Context, l net.Listener, linger time.Duration) error {
	// What a body or an answer may take depends on its size: see put and get.
	server := &http.Server{Handler: g, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10}
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
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), stop)
	defer cancel()
	if err := server.Shutdown(end); err != nil {
		g.Log.Warn("requests were cut off: they outlived the gateway's end")
		return server.Close()
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// ReadKey reads a key of tokens: a text, without the white space around it.
func ReadKey(path string) ([]byte, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the key of the tokens: %w", err)
	}
	key := bytes.TrimSpace(content)
	for _, c := range key {
		if c < '!' || c > '~' {
			return nil, fmt.Errorf("%s is no key of tokens: expected one line of letters, digits and signs", path)
		}
	}
	if len(key) < leastKey {
		return nil, fmt.Errorf("%s is no key of tokens: it has %d characters, expected at least %d", path, len(key), leastKey)
	}
	return key, nil
}
