// Package witness tells which files a pod sees. It runs beside each process of a pool: the cluster
// says nowhere when a changed Secret has come to a pod, and the procedure must not go on before it has.
// It gives hashes away, never a content.
package witness

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Port is where it listens.
const Port = 8071

// Hash stands for a file's content.
func Hash(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// Handler answers GET / with the hashes of the folder's files by name.
func Handler(folder string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		entries, err := os.ReadDir(folder)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		hashes := map[string]string{}
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), ".") { // the kubelet's own
				continue
			}
			content, err := os.ReadFile(filepath.Join(folder, e.Name()))
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			hashes[e.Name()] = Hash(content)
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(hashes)
	})
}

// Run listens until ctx is done.
func Run(ctx context.Context, at, folder string) error {
	server := &http.Server{Addr: at, Handler: Handler(folder), ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
