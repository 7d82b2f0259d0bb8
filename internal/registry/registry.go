// Package registry is the OCI registry that Waybill serves itself, on disk. Everyone who reaches it
// may read, since images hold no secrets and Docker pulls without credentials; only those who
// authenticate may write. Nothing is deleted through it: a release stays what it was.
package registry

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	"github.com/distribution/distribution/v3/registry/storage"
	"github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/sirupsen/logrus"
)

// abandoned is how old an unfinished upload is when it is taken away.
const abandoned = 24 * time.Hour

// Handler serves a registry kept in the folder dir, which it makes where it is missing. Mount it at
// /v2/ of any server. auth decides who may write; nil means nobody. It must compare in constant time.
func Handler(dir string, auth func(user, password string) bool) (http.Handler, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("registry: the folder for images: %w", err)
	}
	quiet()
	var secret [32]byte
	if _, err := rand.Read(secret[:]); err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	config := &configuration.Configuration{
		Version: configuration.CurrentVersion,
		Log:     configuration.Log{Level: "warn", AccessLog: configuration.AccessLog{Disabled: true}},
		Storage: configuration.Storage{
			"filesystem": {"rootdirectory": dir},
			"cache":      {"blobdescriptor": "inmemory"},
			"delete":     {"enabled": false},
			"redirect":   {"disable": true},
			// Its own purger could not be stopped; see below.
			"maintenance": {"uploadpurging": map[any]any{"enabled": false}},
		},
	}
	// Signs the state of uploads between requests; one that a restart interrupts begins again.
	config.HTTP.Secret = hex.EncodeToString(secret[:])
	// The server's address is the caller's business; answers name none.
	config.HTTP.RelativeURLs = true

	purge(dir)
	app, err := newApp(config)
	if err != nil {
		return nil, fmt.Errorf("registry in %s: %w", dir, err)
	}
	return guard(&referrers{dir, app}, auth), nil
}

// newApp turns the library's panics into errors.
func newApp(config *configuration.Configuration) (app *handlers.App, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("starting: %v", p)
		}
	}()
	return handlers.NewApp(context.Background(), config), nil
}

// purge takes away what uploads that were never finished have left.
func purge(dir string) {
	driver := filesystem.New(filesystem.DriverParameters{RootDirectory: dir, MaxThreads: 25})
	_, errs := storage.PurgeUploads(context.Background(), driver, time.Now().Add(-abandoned), true)
	for _, err := range errs {
		if !errors.Is(err, os.ErrNotExist) {
			slog.Debug("registry: an abandoned upload stays", "error", err)
		}
	}
}

// guard asks for a user wherever something is written.
func guard(next http.Handler, auth func(user, password string) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodGet, http.MethodHead, http.MethodOptions:
		default:
			user, password, ok := r.BasicAuth()
			if !ok || auth == nil || !auth(user, password) {
				w.Header().Set("WWW-Authenticate", `Basic realm="waybill"`)
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusUnauthorized)
				io.WriteString(w, `{"errors":[{"code":"UNAUTHORIZED","message":"writing to this registry needs its user and password"}]}`)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// quiet sends the library's log, which knows one global logger only, to slog: warnings and above.
var quiet = sync.OnceFunc(func() {
	logger := logrus.StandardLogger()
	logger.SetOutput(io.Discard)
	logger.SetLevel(logrus.WarnLevel)
	logger.AddHook(toSlog{})
})

type toSlog struct{}

func (toSlog) Levels() []logrus.Level {
	return []logrus.Level{logrus.WarnLevel, logrus.ErrorLevel, logrus.FatalLevel, logrus.PanicLevel}
}

func (toSlog) Fire(e *logrus.Entry) error {
	level := slog.LevelWarn
	if e.Level <= logrus.ErrorLevel {
		level = slog.LevelError
	}
	// A client that asks for what is not there gets its 404; that is no event.
	if code, ok := e.Data["err.code"]; ok {
		switch fmt.Sprint(code) {
		case "manifest unknown", "blob unknown", "name unknown", "unsupported":
			level = slog.LevelDebug
		}
	}
	attrs := []any{}
	for _, key := range []string{"err.code", "err.message", "vars.name", "http.request.method"} {
		if value, ok := e.Data[key]; ok {
			attrs = append(attrs, key, value)
		}
	}
	slog.Log(context.Background(), level, "registry: "+e.Message, attrs...)
	return nil
}
