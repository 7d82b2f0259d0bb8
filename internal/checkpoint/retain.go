package checkpoint

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/waybill-dev/waybill/internal/filestore"
)

// A capture may rely on a file that is stored already, just while another process deletes files that
// no manifest names. Each therefore first writes its own mark, then looks for the other's: at least
// one of them sees the other, whatever the order. The capture waits; the deletion stands back.
const (
	captureLimit = 24 * time.Hour   // a capture that began longer ago is dead
	beatEvery    = 20 * time.Second // how often a deletion renews its mark
	beatLimit    = 3 * time.Minute  // without renewal for so long it is dead; it stops by itself long before
)

type mark struct {
	At time.Time `json:"at"`
}

// begin writes the mark of a capture and waits until no deletion is under way.
func (s *Store) begin(ctx context.Context, ref Ref) error {
	if err := s.putPlain(ctx, ref.startedKey(), mark{time.Now().UTC()}); err != nil {
		return err
	}
	var last time.Time
	since := time.Now()
	for {
		at, err := s.modified(ctx, collectingKey(ref.Environment, ref.Tenant))
		if err != nil {
			return err
		}
		if at.IsZero() {
			return nil
		}
		if !at.Equal(last) { // our own clock measures how long it stays the same: the bucket's may differ
			last, since = at, time.Now()
		}
		if time.Since(since) > beatLimit {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the deletion of unused files: %w", context.Cause(ctx))
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// modified is when an object was written; zero where there is none.
func (s *Store) modified(ctx context.Context, key string) (time.Time, error) {
	a, err := s.Bucket.Attributes(ctx, key)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("look for %s: %w", key, err)
	}
	return a.ModTime, nil
}

// Retain deletes the checkpoints of a tenant that the policy does not keep, and the filestore's files that no
// remaining one names. It returns what was deleted.
func (s *Store) Retain(ctx context.Context, env, tenant string, p Policy) ([]Ref, error) {
	infos, err := s.List(ctx, env, tenant)
	if err != nil {
		return nil, err
	}
	var gone []Ref
	for _, info := range doomed(infos, p, time.Now()) {
		if err := s.deleteCheckpoint(ctx, info.Ref()); err != nil {
			return gone, err
		}
		gone = append(gone, info.Ref())
	}
	if err := s.sweep(ctx, env, tenant); err != nil {
		return gone, err
	}
	return gone, s.collect(ctx, env, tenant)
}

// doomed are those that no rule keeps. infos are newest first.
func doomed(infos []Info, p Policy, now time.Time) []Info {
	verifiedSeen := false
	var out []Info
	for i, info := range infos {
		keep := i == 0 || i < p.Last || now.Sub(info.RecoveryPoint) < time.Duration(p.Days)*24*time.Hour
		if !info.Verified.IsZero() && !verifiedSeen {
			verifiedSeen, keep = true, true
		}
		if !keep {
			out = append(out, info)
		}
	}
	return out
}

// Delete deletes one checkpoint, whatever it is worth, and the files that no other names. One that is
// gone is deleted already.
func (s *Store) Delete(ctx context.Context, ref Ref) error {
	if err := s.deleteCheckpoint(ctx, ref); err != nil {
		return err
	}
	return s.collect(ctx, ref.Environment, ref.Tenant)
}

func (s *Store) deleteCheckpoint(ctx context.Context, ref Ref) error {
	if err := ref.check(); err != nil {
		return err
	}
	// The manifest first: from then on it is no checkpoint, whatever of it is left.
	err := s.remove(ctx, ref.manifestKey())
	if err == nil {
		err = s.clear(ctx, ref.prefix())
	}
	if err != nil {
		return fmt.Errorf("delete checkpoint %s: %w", ref, err)
	}
	return nil
}

// sweep removes what captures that died long ago have left.
func (s *Store) sweep(ctx context.Context, env, tenant string) error {
	ids, err := s.names(ctx, tenantPrefix(env, tenant))
	if err != nil {
		return err
	}
	for _, id := range ids {
		ref := Ref{env, tenant, id}
		whole, err := s.Bucket.Exists(ctx, ref.manifestKey())
		if err != nil {
			return err
		}
		if whole {
			continue
		}
		newest := time.Time{}
		err = s.each(ctx, ref.prefix(), func(o *blob.ListObject) error {
			if o.ModTime.After(newest) {
				newest = o.ModTime
			}
			return nil
		})
		if err != nil {
			return err
		}
		if time.Since(newest) > captureLimit {
			if err := s.clear(ctx, ref.prefix()); err != nil {
				return err
			}
		}
	}
	return nil
}

// collect deletes the filestore's files that no manifest of the tenant names. It does nothing while a capture
// is under way, and gives up when a manifest cannot be read: that one may name any file.
func (s *Store) collect(ctx context.Context, env, tenant string) (err error) {
	flag := collectingKey(env, tenant)
	if err := s.putPlain(ctx, flag, mark{time.Now().UTC()}); err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		err = errors.Join(err, s.remove(ctx, flag))
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var beat atomic.Int64
	beat.Store(time.Now().UnixNano())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(beatEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				at := time.Now()
				if s.putPlain(ctx, flag, mark{at.UTC()}) == nil {
					beat.Store(at.UnixNano())
				}
			}
		}
	}()
	defer func() { cancel(); <-stopped }()

	ids, err := s.names(ctx, tenantPrefix(env, tenant))
	if err != nil {
		return err
	}
	used := map[[20]byte]struct{}{}
	for _, id := range ids {
		ref := Ref{env, tenant, id}
		started, err := s.modified(ctx, ref.startedKey())
		if err != nil {
			return err
		}
		whole, err := s.Bucket.Exists(ctx, ref.manifestKey())
		if err != nil {
			return err
		}
		if !whole {
			if !started.IsZero() && time.Since(started) < captureLimit {
				return nil
			}
			continue
		}
		m, err := s.Load(ctx, ref)
		if err != nil {
			return fmt.Errorf("no unused file is deleted: %w", err)
		}
		for _, f := range m.Files {
			if sum, ok := fileSum(f.Name); ok {
				used[sum] = struct{}{}
			}
		}
	}
	prefix := filesPrefix(env, tenant)
	return s.each(ctx, prefix, func(o *blob.ListObject) error {
		name, ok := strings.CutSuffix(strings.TrimPrefix(o.Key, prefix), sealed)
		sum, valid := fileSum(name)
		switch {
		case ok && valid:
			if _, keep := used[sum]; keep {
				return nil
			}
		case time.Since(o.ModTime) < captureLimit:
			return nil // the temporary file of a writer
		}
		if time.Since(time.Unix(0, beat.Load())) > beatLimit/2 {
			return errors.New("the bucket does not answer fast enough to delete unused files safely: try again later")
		}
		return s.remove(ctx, o.Key)
	})
}

func fileSum(name string) (sum [20]byte, ok bool) {
	if !filestore.Valid(name) {
		return sum, false
	}
	_, err := hex.Decode(sum[:], []byte(name[3:]))
	return sum, err == nil
}
