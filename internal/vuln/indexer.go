package vuln

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sync/errgroup"
)

// batchBytes is how much is gathered before it is written: memory stays bounded however large the
// databases are, and sorted batches make a compact tree.
const batchBytes = 8 << 20

// indexer writes records.
type indexer struct {
	db    *bolt.DB
	state State
	batch []entry
	bytes int

	records int
}

type entry struct{ key, value []byte }

// parsed is what became of one advisory.
type parsed struct {
	advisory advisory
	bases    []string // ecosystems that it is about, without release
	releases []string // one for each record
	entries  []entry
}

type raw struct {
	name    string
	content []byte
}

// all reads the sources in one goroutine, parses in as many as there are processors, and writes in
// one. The channels are short, so that no more than a few advisories are in memory.
func (w *indexer) all(ctx context.Context, list []source) error {
	group, ctx := errgroup.WithContext(ctx)
	read, done := make(chan raw, 16), make(chan parsed, 16)
	group.Go(func() error {
		defer close(read)
		r := &reader{ctx: ctx, each: func(name string, content []byte) error {
			select {
			case read <- raw{name, content}:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}}
		for _, s := range list {
			if err := r.read(s); err != nil {
				return err
			}
		}
		return nil
	})
	group.Go(func() error {
		defer close(done)
		workers, ctx := errgroup.WithContext(ctx)
		for range runtime.GOMAXPROCS(0) {
			workers.Go(func() error {
				for one := range read {
					p, err := parse(one)
					if err != nil {
						return err
					}
					select {
					case done <- p:
					case <-ctx.Done():
						return ctx.Err()
					}
				}
				return nil
			})
		}
		return workers.Wait()
	})
	group.Go(func() error {
		for p := range done {
			if err := w.take(p); err != nil {
				return err
			}
		}
		return nil
	})
	return group.Wait()
}

func parse(one raw) (parsed, error) {
	a, records, err := parseAdvisory(one.content)
	if err != nil {
		return parsed{}, damaged("%s: %w; fetch the database again, or mend the file", one.name, err)
	}
	p := parsed{advisory: a}
	for _, about := range a.Affected {
		if base := baseOf(about.Package.Ecosystem); orderOf(base) != nil && !slices.Contains(p.bases, base) {
			p.bases = append(p.bases, base)
		}
	}
	for _, k := range records {
		value, err := json.Marshal(k.record)
		if err != nil {
			return parsed{}, err
		}
		p.releases = append(p.releases, k.ecosystem)
		p.entries = append(p.entries, entry{prefix(k.ecosystem, k.name), value})
	}
	return p, nil
}

// prefix is what the keys of a package's records begin with.
func prefix(ecosystem, name string) []byte {
	return []byte(ecosystem + "\x00" + strings.ReplaceAll(name, "\x00", "") + "\x00")
}

func (w *indexer) take(p parsed) error {
	for _, base := range p.bases {
		e := w.state.Ecosystems[base]
		if p.advisory.Withdrawn == nil {
			e.Advisories++
		}
		if p.advisory.Modified.After(e.Newest) {
			e.Newest = p.advisory.Modified
		}
		w.state.Ecosystems[base] = e
	}
	for _, release := range p.releases {
		w.state.Releases[release]++
	}
	for _, e := range p.entries {
		w.records++ // two databases may hold an advisory in two states: both count
		e.key = fmt.Appendf(e.key, "%s\x00%08x", p.advisory.ID, w.records)
		w.batch = append(w.batch, e)
		w.bytes += len(e.key) + len(e.value)
	}
	if w.bytes < batchBytes {
		return nil
	}
	return w.flush()
}

func (w *indexer) flush() error {
	slices.SortFunc(w.batch, func(a, b entry) int { return bytes.Compare(a.key, b.key) })
	err := w.db.Update(func(tx *bolt.Tx) error {
		records, err := tx.CreateBucketIfNotExists(recordsBucket)
		if err != nil {
			return err
		}
		for _, e := range w.batch {
			if err := records.Put(e.key, e.value); err != nil {
				return err
			}
		}
		return nil
	})
	w.batch, w.bytes = nil, 0
	return err
}

// finish writes what the index is of, last: an index without it is not whole.
func (w *indexer) finish() error {
	if err := w.flush(); err != nil {
		return err
	}
	state, err := json.Marshal(w.state)
	if err != nil {
		return err
	}
	err = w.db.Update(func(tx *bolt.Tx) error {
		about, err := tx.CreateBucketIfNotExists(aboutBucket)
		if err != nil {
			return err
		}
		return about.Put(stateKey, state)
	})
	if err != nil {
		return err
	}
	return w.db.Sync()
}
