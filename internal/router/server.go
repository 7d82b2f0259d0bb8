package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/sync/errgroup"

	"github.com/waybill-dev/waybill/internal/certificate"
	"github.com/waybill-dev/waybill/internal/proxies"
)

// Config is what a router process is started with.
type Config struct {
	HTTP    string // host:port; empty: none
	HTTPS   string // host:port; empty: none. HTTP is not redirected to it
	Cert    string // PEM file with the chain; with HTTPS
	Key     string // PEM file; with HTTPS
	Admin   string // path of the Unix socket
	State   string // folder that keeps the table in force
	MaxHeld int    // requests that wait at most; 0: DefaultMaxHeld

	AdminTLS  string   // host:port for a server on another machine; empty: none
	AdminPair string   // folder with the pair that both hold; with AdminTLS (see NewPair)
	Table     string   // file with a table, read whenever it changes and is newer; empty: none
	Proxies   []string // networks of the proxies before this router, which may say who the client is
	Log       *slog.Logger
}

const (
	headerLimit = 10 * time.Second
	headerBytes = 64 << 10
	idleLimit   = 2 * time.Minute
	// StopGrace is how long a router that is told to stop waits for requests in flight; who stops it
	// (docker stop --time) must wait a little longer.
	StopGrace = 60 * time.Second
)

// Run serves until ctx is done or the process gets SIGTERM or SIGINT. It then accepts no more
// connections, finishes the requests in flight for at most StopGrace, closes the WebSockets and
// returns nil. An error means that it could not start, or that a listener failed.
func Run(ctx context.Context, c Config) error {
	// The router is process 1 of its container, where a signal without handler does nothing.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	s, err := start(c)
	if err != nil {
		return err
	}
	return s.wait(ctx)
}

// server is a router that serves.
type server struct {
	config  Config
	control *control
	lock    *flock.Flock
	public  *http.Server
	admin   *http.Server
	http    net.Listener // nil: none
	https   net.Listener
	failed  chan error
	group   errgroup.Group
}

func start(c Config) (_ *server, err error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.MaxHeld == 0 {
		c.MaxHeld = DefaultMaxHeld
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.State, 0o700); err != nil {
		return nil, fmt.Errorf("make the router's state folder: %w", err)
	}
	s := &server{config: c, lock: flock.New(filepath.Join(c.State, "router.lock")), failed: make(chan error, 4)}
	locked, err := s.lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock the router's state folder %s: %w", c.State, err)
	}
	if !locked {
		return nil, fmt.Errorf("another router runs on the state folder %s: stop it first, or give this one its own folder", c.State)
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if err := sweepState(c.State); err != nil {
		c.Log.Warn("left-over files stay in the state folder", "error", err)
	}

	before, err := proxies.Parse(c.Proxies)
	if err != nil {
		return nil, fmt.Errorf("router: %w", err)
	}
	p := newProxy(c.Log, c.MaxHeld)
	s.control = newControl(p, c.State, c.Log)
	if err := s.control.restore(); err != nil {
		// Serving nothing until the server sends a table beats not being there to get it.
		c.Log.Error("the last routing table cannot be read; waiting for the server to send one", "error", err)
	}
	s.public = &http.Server{
		Handler:           before.Handler(p),
		ReadHeaderTimeout: headerLimit,
		MaxHeaderBytes:    headerBytes,
		IdleTimeout:       idleLimit,
		ConnContext:       withConn,
		ErrorLog:          slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug), // scanners' broken handshakes
	}
	s.admin = &http.Server{Handler: adminHandler(s.control), ReadHeaderTimeout: headerLimit}

	if c.HTTPS != "" {
		pair, err := certificate.Load(c.Cert, c.Key, c.Log, nil)
		if err != nil {
			return nil, err
		}
		s.public.TLSConfig = pair.Server()
		if s.https, err = listen(c.HTTPS); err != nil {
			return nil, err
		}
	}
	if c.HTTP != "" {
		if s.http, err = listen(c.HTTP); err != nil {
			return nil, err
		}
	}
	socket, err := listenAdmin(c.Admin)
	if err != nil {
		return nil, err
	}
	if c.AdminTLS != "" {
		remote, err := listenRemote(c.AdminTLS, c.AdminPair)
		if err != nil {
			_ = socket.Close()
			return nil, err
		}
		s.serve(func() error { return s.admin.Serve(remote) })
	}
	if c.Table != "" {
		if content, err := os.ReadFile(c.Table); err == nil {
			s.takeTable(context.Background(), c.Table, content) // before the first request
		}
	}
	s.serve(func() error { return s.admin.Serve(socket) })
	if s.http != nil {
		s.serve(func() error { return s.public.Serve(s.http) })
		c.Log.Info("router listens", "http", s.http.Addr().String())
	}
	if s.https != nil {
		s.serve(func() error { return s.public.ServeTLS(s.https, "", "") })
		c.Log.Info("router listens", "https", s.https.Addr().String())
	}
	return s, nil
}

func (c *Config) check() error {
	switch {
	case c.HTTP == "" && c.HTTPS == "":
		return errors.New("router: give it an address to listen on (HTTP, HTTPS or both)")
	case c.HTTPS != "" && (c.Cert == "" || c.Key == ""):
		return errors.New("router: HTTPS needs a certificate file and a key file")
	case c.Admin == "":
		return errors.New("router: give it a path for its admin socket")
	case c.State == "":
		return errors.New("router: give it a state folder")
	case c.MaxHeld < 0:
		return fmt.Errorf("router: %d requests to hold at most: it must not be negative", c.MaxHeld)
	case len(c.Admin) > maxSocketPath:
		return fmt.Errorf("router: the path of the admin socket has %d bytes, and the system allows %d: choose a shorter folder (%s)", len(c.Admin), maxSocketPath, c.Admin)
	}
	return nil
}

const maxSocketPath = 107 // sizeof(sockaddr_un.sun_path)-1 on Linux

func listen(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("router: the address %s is in use by another program: stop that, or give the environment another address", address)
	}
	if err != nil {
		return nil, fmt.Errorf("router: listen on %s: %w", address, err)
	}
	return l, nil
}

// listenAdmin listens on a socket that only its owner may use. The state folder's lock has shown
// that a socket found there is a dead router's.
func listenAdmin(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("router: make the folder of the admin socket: %w", err)
	}
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&os.ModeSocket == 0 {
			return nil, fmt.Errorf("router: %s is there and is no socket: give the admin socket another path", path)
		}
		if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
			_ = conn.Close()
			return nil, fmt.Errorf("router: another process listens on %s: stop it first", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("router: remove a dead router's socket: %w", err)
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("router: listen on the admin socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("router: close the admin socket to others: %w", err)
	}
	return l, nil
}

func (s *server) serve(f func() error) {
	s.group.Go(func() error {
		if err := f(); !errors.Is(err, http.ErrServerClosed) {
			s.failed <- err
		}
		return nil
	})
}

func (s *server) wait(ctx context.Context) error {
	var failure error
	if s.config.Table != "" {
		go s.follow(ctx, s.config.Table)
	}
	select {
	case <-ctx.Done():
	case failure = <-s.failed:
		failure = fmt.Errorf("router: a listener failed: %w", failure)
	}
	s.config.Log.Info("router stops; requests in flight are finished", "grace", StopGrace)
	grace, cancel := context.WithTimeout(context.Background(), StopGrace)
	defer cancel()
	// The admin socket stays open, so that the server can still release a hold.
	if err := s.public.Shutdown(grace); err != nil {
		s.config.Log.Warn("requests were cut off: they outlived the router's stop")
	}
	s.close()
	return failure
}

// close ends everything at once.
func (s *server) close() {
	if s.public != nil {
		s.control.stopAll() // hijacked WebSockets are nobody else's
		_ = s.public.Close()
		_ = s.admin.Close()
	}
	for _, l := range []net.Listener{s.http, s.https} {
		if l != nil {
			_ = l.Close() // when it was never served
		}
	}
	_ = s.group.Wait()
	_ = s.lock.Unlock()
}
