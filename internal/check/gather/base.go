package gather

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/waybill-dev/waybill/internal/build"
	"github.com/waybill-dev/waybill/internal/check"
)

// indexVersion is part of the cache's key; it changes when an index would hold something else, or
// an interpreter be taken out in another way.
const indexVersion = 4

// lockRetry is how often a lock that another process holds is asked for again.
const lockRetry = 200 * time.Millisecond

// base is what is known of a base image.
type base struct {
	series string
	index  *check.Base
	dir    string // in the cache
	writes bool   // the interpreter may keep bytecode
	ready  *process
	cached
}

// cached is what the cache keeps of an image, beside its interpreter.
type cached struct {
	Index     check.Base `json:"index"` // without its modules, which build's own scan remembers, and without its many external ids
	IDs       int        `json:"ids"`   // how many, in files of their own
	DemoIDs   int        `json:"demo_ids"`
	Python    string     `json:"python"`
	Installed installed  `json:"installed"`
	Unusable  string     `json:"unusable,omitempty"` // why the interpreter cannot be run here
}

// open reads a base image, or what the cache remembers of it.
func (o Options) open(ctx context.Context, img v1.Image) (*base, error) {
	digest, err := img.Digest()
	if err != nil {
		return nil, fmt.Errorf("reading the base: %w", err)
	}
	cache := o.Cache
	if cache == "" {
		if cache, err = build.CacheDir(""); err != nil {
			return nil, err
		}
	}
	key := sha256.Sum256(fmt.Appendf(nil, "%d\x00%s", indexVersion, digest))
	dir := filepath.Join(cache, "check-base", hex.EncodeToString(key[:12]))
	known, ok := readIndex(dir)
	if !ok {
		o.say("base %s is new here: it is read once, which takes up to a minute", short(digest.String()))
	}
	started := time.Now()
	scan, err := build.ScanBase(ctx, img, cache)
	if err != nil {
		return nil, err
	}
	if !ok {
		if known, err = o.make(ctx, img, scan, dir); err != nil {
			return nil, err
		}
		o.say("base %s: Odoo %s, %d modules, %d records, %d models, %d Python distributions; read in %.0f s", short(digest.String()), scan.Base.Version,
			len(scan.Base.Modules), known.Index.ExternalIDs.Len(), len(known.Index.Models), len(known.Index.Python), time.Since(started).Seconds())
	}
	known.Index.Digest, known.Index.Modules = digest.String(), scan.Base.Modules
	return &base{series: scan.Series, index: &known.Index, dir: dir, cached: known}, nil
}

// make reads every layer once and puts the result into the cache, whole or not at all.
func (o Options) make(ctx context.Context, img v1.Image, scan build.BaseScan, dir string) (cached, error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return cached{}, err
	}
	lock := flock.New(dir + ".lock")
	if _, err := lock.TryLockContext(ctx, lockRetry); err != nil {
		return cached{}, fmt.Errorf("waiting for another run that reads the same base: %w", err)
	}
	defer lock.Unlock()
	if known, ok := readIndex(dir); ok {
		return known, nil
	}
	work, err := os.MkdirTemp(filepath.Dir(dir), ".new-*")
	if err != nil {
		return cached{}, err
	}
	defer os.RemoveAll(work)
	root := filepath.Join(work, "root")
	// The interpreter runs as a user who owns nothing, so that others must be able to read.
	for _, folder := range []string{work, root} {
		if err := errors.Join(os.MkdirAll(folder, 0o755), os.Chmod(folder, 0o755)); err != nil {
			return cached{}, err
		}
	}
	config, err := img.ConfigFile()
	if err != nil {
		return cached{}, fmt.Errorf("reading the base: %w", err)
	}
	keep := newInterpreter(root, scan.Base.Python)
	x := newIndexer(scan.Base, programPaths(config), keep)
	l := layers{wanted: x.wanted, take: x.take}
	if err := l.read(ctx, img); err != nil {
		return cached{}, err
	}
	known := cached{Index: *x.result(scan.Base), Python: scan.Base.Python}
	known.Index.Modules = nil
	if known.Installed, err = keep.finish(); err != nil {
		known.Unusable = err.Error()
	} else if err := (&base{dir: work, cached: known}).firstRun(ctx); err != nil {
		if ctx.Err() != nil {
			return cached{}, ctx.Err()
		}
		known.Unusable = err.Error()
	}
	if err := known.write(work); err != nil {
		return cached{}, err
	}
	// What is there and cannot be read is from a disk that was full, or the like.
	if err := os.RemoveAll(dir); err != nil {
		return cached{}, err
	}
	return known, os.Rename(work, dir)
}

// Files of the cache, within the folder of a base.
const (
	indexFile   = "index.json"
	idsFile     = "ids"
	demoIDsFile = "demo-ids"
)

func (c cached) write(dir string) error {
	ids, demos := c.Index.ExternalIDs, c.Index.DemoIDs
	c.IDs, c.DemoIDs = ids.Len(), demos.Len()
	c.Index.ExternalIDs, c.Index.DemoIDs = "", ""
	content, err := json.Marshal(c)
	return errors.Join(err, os.WriteFile(filepath.Join(dir, indexFile), content, 0o644),
		os.WriteFile(filepath.Join(dir, idsFile), []byte(ids), 0o644), os.WriteFile(filepath.Join(dir, demoIDsFile), []byte(demos), 0o644))
}

// readIndex takes an unreadable cache for none.
func readIndex(dir string) (known cached, ok bool) {
	content, err := os.ReadFile(filepath.Join(dir, indexFile))
	if err != nil || json.Unmarshal(content, &known) != nil {
		return cached{}, false
	}
	ids, err := os.ReadFile(filepath.Join(dir, idsFile))
	demos, err2 := os.ReadFile(filepath.Join(dir, demoIDsFile))
	known.Index.ExternalIDs, known.Index.DemoIDs = check.Names(ids), check.Names(demos)
	whole := known.Index.ExternalIDs.Len() == known.IDs && known.Index.DemoIDs.Len() == known.DemoIDs
	return known, err == nil && err2 == nil && whole && known.IDs > 0
}

// programPaths are the folders in which the image looks for programs.
func programPaths(config *v1.ConfigFile) []string {
	for _, kv := range config.Config.Env {
		if value, ok := strings.CutPrefix(kv, "PATH="); ok {
			return strings.Split(value, ":")
		}
	}
	return strings.Split("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", ":")
}

func short(digest string) string {
	if len(digest) > 19 {
		return digest[:19]
	}
	return digest
}
