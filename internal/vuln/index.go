package vuln

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gofrs/flock"
	bolt "go.etcd.io/bbolt"

	"github.com/waybill-dev/waybill/internal/build"
)

// indexVersion is part of an index's name; it changes when the same advisories would be kept differently.
const indexVersion = 1

// keptIndexes is how many states of databases stay in the cache, the ones used last.
const keptIndexes = 4

const lockRetry = 200 * time.Millisecond

var (
	recordsBucket = []byte("records") // ecosystem \0 package \0 advisory \0 number → record
	aboutBucket   = []byte("about")   // "state" → State
	stateKey      = []byte("state")
)

// State says what databases hold.
type State struct {
	Fingerprint string               `json:"fingerprint"`
	Ecosystems  map[string]Ecosystem `json:"ecosystems"` // by name without a release: "Debian", "PyPI", "Odoo"
	Releases    map[string]int       `json:"releases"`   // records by name with the release: "Debian:13"
}

// Ecosystem is what databases hold of one.
type Ecosystem struct {
	Advisories int       `json:"advisories"` // withdrawn ones left out
	Newest     time.Time `json:"newest"`     // the latest "modified" of its advisories
}

// Database is the index of some databases in one state. It is safe for use by several goroutines.
type Database struct {
	State State
	db    *bolt.DB
}

// ErrChanged says that databases are being renewed at this moment.
var ErrChanged = errors.New("the vulnerability databases changed while they were read: they are being renewed; try again when that is done")

// Open makes the databases ready: folders or zip files with advisories in OSV's format. An index of
// their present state is made once (about 20 s for 60,000 advisories) and kept under cache, which ""
// sets to build.CacheDir. An error about the databases themselves is ErrDatabase; that they changed
// meanwhile is ErrChanged.
func Open(ctx context.Context, databases []string, cache string) (*Database, error) {
	cache, err := build.CacheDir(cache)
	if err != nil {
		return nil, err
	}
	list, err := sources(ctx, databases)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(cache, "vulnerabilities")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, fmt.Sprintf("%d-%s.index", indexVersion, fingerprint(list)))
	if d, err := open(file); err == nil {
		return d, nil
	}
	lock := flock.New(filepath.Join(dir, "lock"))
	if _, err := lock.TryLockContext(ctx, lockRetry); err != nil {
		return nil, fmt.Errorf("waiting for another run that reads vulnerability databases: %w", err)
	}
	defer func() { _ = lock.Unlock() }()
	if d, err := open(file); err == nil {
		return d, nil
	}
	err = makeIndex(ctx, list, file)
	now, changed := Fingerprint(ctx, databases)
	if changed == nil && now != fingerprint(list) {
		changed = ErrChanged // what was wrong with them is of no interest any more
		err = nil
	}
	if err := cmp.Or(err, changed); err != nil {
		_ = os.Remove(file)
		return nil, err
	}
	forget(dir, file)
	return open(file)
}

// open opens a finished index, without a lock: nobody writes to one.
func open(file string) (*Database, error) {
	if _, err := os.Stat(file); err != nil {
		return nil, err
	}
	db, err := bolt.Open(file, 0o644, &bolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		return nil, err
	}
	d := &Database{db: db}
	err = db.View(func(tx *bolt.Tx) error {
		about := tx.Bucket(aboutBucket)
		if about == nil || tx.Bucket(recordsBucket) == nil {
			return errors.New("not a whole index")
		}
		return json.Unmarshal(about.Get(stateKey), &d.State)
	})
	if err != nil {
		_ = db.Close()
		return nil, err
	}
	now := time.Now()
	_ = os.Chtimes(file, now, now) // so that forget knows what is in use
	return d, nil
}

// Close frees the index.
func (d *Database) Close() error { return d.db.Close() }

// forget removes the indexes that were used longest ago.
func forget(dir, keep string) {
	files, _ := filepath.Glob(filepath.Join(dir, "*.index"))
	age := func(file string) time.Time {
		info, err := os.Stat(file)
		if err != nil || file == keep {
			return time.Now()
		}
		return info.ModTime()
	}
	slices.SortFunc(files, func(a, b string) int { return age(b).Compare(age(a)) })
	for _, old := range files[min(len(files), keptIndexes):] {
		_ = os.Remove(old) // who has it open keeps it
	}
}

// makeIndex reads all advisories and writes the index, which has its name only once it is whole.
func makeIndex(ctx context.Context, list []source, file string) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(file), ".new-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	if err := tmp.Close(); err != nil {
		return err
	}
	db, err := bolt.Open(tmp.Name(), 0o644, &bolt.Options{NoSync: true, NoFreelistSync: true, NoGrowSync: true})
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, db.Close()); err == nil {
			err = os.Rename(tmp.Name(), file)
		}
	}()
	w := &indexer{db: db, state: State{Fingerprint: fingerprint(list), Ecosystems: map[string]Ecosystem{}, Releases: map[string]int{}}}
	if err := w.all(ctx, list); err != nil {
		return err
	}
	return w.finish()
}
