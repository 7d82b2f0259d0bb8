// Package postgrestest gives the tests of a package a real PostgreSQL server: one, which is started when the first test
// asks for it and is gone after the last, however the tests end.
package postgrestest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/postgres"
)

// settings of a server that nobody misses after a power cut, and of which several run side by side.
var settings = map[string]string{"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "32MB", "max_connections": "200"}

// watchEnv makes this program the watcher of the folder it names.
const watchEnv = "WAYBILL_POSTGRESTEST_WATCH"

// Shared returns a function that starts a server with these options at its first call, and returns the same server at every
// further one. Keep it in a variable of the package. Dir and Password are chosen here where they are empty, and the server
// writes nothing out to be safe. It ends, and its folder goes, when the process does: after the last test, a panic or a kill.
func Shared(o postgres.Options) func(testing.TB) *postgres.Cluster {
	start := sync.OnceValues(func() (*postgres.Cluster, error) { return start(o) })
	return func(t testing.TB) *postgres.Cluster {
		t.Helper()
		c, err := start()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
}

func start(o postgres.Options) (*postgres.Cluster, error) {
	dir, err := os.MkdirTemp("", "wbtest") // short: a socket's path has a limit
	if err != nil {
		return nil, err
	}
	if err := watch(dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := os.Chmod(dir, 0o755); err != nil { // the server runs as another user
		return nil, err
	}
	all := maps.Clone(settings)
	maps.Copy(all, o.Settings)
	o.Dir, o.Settings = filepath.Join(dir, "pg"), all
	if o.Name == "" {
		o.Name = strings.TrimSuffix(filepath.Base(os.Args[0]), ".test") + "-test"
	}
	if o.Password == "" {
		o.Password = "pw"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	return postgres.Start(ctx, o)
}

// watch starts a process that removes the folder, and ends the server in it, when this one is gone: a server is a daemon,
// and neither a panic nor a kill runs what a test has deferred.
func watch(dir string) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	ours, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = ours.Close() }()
	keepOpen = append(keepOpen, theirs)
	cmd := exec.Command(program)
	cmd.Env, cmd.Stdin = append(os.Environ(), watchEnv+"="+dir), ours // its output goes nowhere, so that nobody waits for it
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}              // Ctrl-C ends the tests, and they end it
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the watcher of the tests' PostgreSQL: %w", err)
	}
	return nil
}

// keepOpen holds the pipes' ends that close with this process.
var keepOpen []io.Closer

func init() {
	dir := os.Getenv(watchEnv)
	if dir == "" {
		return
	}
	_, _ = io.Copy(io.Discard, os.Stdin) // until the tests' process is gone
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if errors.Join(postgres.Destroy(ctx, filepath.Join(dir, "pg")), os.RemoveAll(dir)) != nil {
		os.Exit(1)
	}
	os.Exit(0)
}
