package gitops

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/forge"
	"github.com/waybill-dev/waybill/internal/promotion"
	"github.com/waybill-dev/waybill/internal/store"
)

// Engine starts promotions; see promotion.Engine.
type Engine interface {
	StartWith(ctx context.Context, declared *estate.Estate, q promotion.Request, with func(tx pgx.Tx, id string) error) (string, error)
	Differs(ctx context.Context, env estate.Environment) ([]string, error)
}

// Follower keeps a server at what the estate's repository says: it takes over new commits, starts the
// promotions that they ask for, and writes down in Git what went back.
type Follower struct {
	Repository *Repository
	Store      *store.Store
	Engine     Engine
	Folder     string        // for the files of the commit in force
	Poll       time.Duration // how often the remote is asked; 0: only when Wake is called
	Propose    estate.Propose
	Check      func(*estate.Estate) error // what must hold besides, before a commit comes into force; may be nil
	Signatures *Signatures                // whose commits count; nil: everybody's
	Hook       func() (string, error)     // the secret that the forge signs its calls with; nil: there is no webhook
	Forge      *forge.Forge               // where pull requests are opened; nil: people open them
	Turned     func(error)                // told how each look ended; may be nil
	Log        *slog.Logger

	// Rendered are the manifests of what runs, by ENVIRONMENT/…/FILE; nil: they are not written down.
	Rendered func(context.Context) (map[string][]byte, error)
	written  string // what was compared with Git last, and is there: renderedSum

	waking  chan struct{}
	prepare sync.Once
	mu      sync.Mutex // one turn at a time in this process

	reading sync.Mutex
	read    *estate.Estate // of the commit that was in force last
}

// retryAfter is how soon a remote that was away is asked again. A rollback that Git has not been told is
// not lost meanwhile, and nobody waits for it.
const retryAfter = 15 * time.Second

func (f *Follower) wakes() chan struct{} {
	f.prepare.Do(func() { f.waking = make(chan struct{}, 1) })
	return f.waking
}

// Wake has the follower look now: a forge told of a push, a promotion ended, a release was registered.
func (f *Follower) Wake() {
	select {
	case f.wakes() <- struct{}{}:
	default:
	}
}

// Run follows until ctx is done.
func (f *Follower) Run(ctx context.Context) error {
	for {
		again, err := f.Turn(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if f.Turned != nil {
			f.Turned(err)
		}
		if err != nil {
			f.Log.Warn("follow the estate's repository", "error", err)
		}
		var next <-chan time.Time
		if again = f.pause(again, err); again > 0 {
			timer := time.NewTimer(again)
			defer timer.Stop()
			next = timer.C
		}
		select {
		case <-ctx.Done():
			return nil
		case <-f.wakes():
		case <-next:
		}
	}
}

// pause is how long to wait for the next turn; 0: until somebody wakes us.
func (f *Follower) pause(again time.Duration, err error) time.Duration {
	switch {
	case err != nil && again == 0:
		again = retryAfter
	case again == 0:
		return f.Poll
	}
	if f.Poll > 0 {
		again = min(again, f.Poll)
	}
	return again
}

// Turn takes over what is new and does what it asks for; again is when there is more to do, 0 for nothing.
// Where another server is at it, nothing is done.
func (f *Follower) Turn(ctx context.Context) (again time.Duration, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	done, err := f.Store.Alone(ctx, func(ctx context.Context) error {
		// A remote that is away keeps nobody from acting on what is in force.
		took := f.Take(ctx)
		declared, err := f.Declared(ctx)
		if err != nil {
			return errors.Join(took, err)
		}
		busy, acted := f.act(ctx, declared)
		waits, told := f.tell(ctx)
		if busy || waits {
			again = retryAfter
		}
		return errors.Join(took, acted, told, f.render(ctx))
	})
	if err == nil && !done {
		again = retryAfter
	}
	return again, err
}

// Take brings the newest commit of the branch into force, if nothing speaks against it.
func (f *Follower) Take(ctx context.Context) error {
	head, err := f.Store.EstateHead(ctx)
	if err != nil {
		return err
	}
	newest, err := f.Repository.Head(ctx)
	if err != nil {
		return errors.Join(err, f.refuse(ctx, head, head.Seen, err.Error()))
	}
	if newest == head.Commit && head.Problem == "" && newest != "" {
		if _, err := os.Stat(f.folder(newest)); err == nil {
			return nil
		}
	}
	switch grew, err := f.grew(ctx, head, newest); {
	case err != nil:
		return err
	case newest == "":
		return f.refuse(ctx, head, newest, "the branch has no commit yet")
	case !grew:
		return f.refuse(ctx, head, newest, fmt.Sprintf("the history of the estate was rewritten: %.10s is in force, and the branch at %.10s does not follow from it. Look at what is gone, then take it: waybill estate accept %s", head.Commit, newest, newest))
	}
	if err := f.export(ctx, newest); err != nil {
		return errors.Join(err, f.refuse(ctx, head, newest, err.Error()))
	}
	declared, err := estate.Load(ctx, f.folder(newest))
	if err == nil && f.Check != nil {
		err = f.Check(declared)
	}
	if err != nil {
		return f.refuse(ctx, head, newest, "commit "+newest[:10]+" is not taken over: "+oneLine(err.Error()))
	}
	if newest != head.Accepted {
		if problem, err := f.unappliable(ctx, head.Commit, declared); err != nil {
			return err
		} else if problem != "" {
			return f.refuse(ctx, head, newest, fmt.Sprintf("commit %.10s is not taken over: %s; or, where that has been seen to by hand: waybill estate accept %s", newest, problem, newest))
		}
	}
	var refused *Refused
	if err := f.examine(ctx, head.Commit, newest, declared); errors.As(err, &refused) {
		return f.refuse(ctx, head, newest, refused.Error(), refused.Changes...)
	} else if err != nil {
		return err
	}
	if err := f.Repository.Keep(ctx, "in-force", newest); err != nil {
		return err
	}
	if err := f.record(ctx, head, newest); err != nil {
		return err
	}
	if head.Commit != newest {
		f.Log.Info("the estate is at a new commit", "commit", newest, "before", head.Commit)
		f.forget(newest, head.Commit)
	}
	return nil
}

// grew says whether the newest commit may come after the one in force.
func (f *Follower) grew(ctx context.Context, head store.Head, newest string) (bool, error) {
	if head.Commit == "" || newest == "" || newest == head.Accepted {
		return true, nil
	}
	return f.Repository.Follows(ctx, head.Commit, newest)
}

func (f *Follower) folder(commit string) string { return filepath.Join(f.Folder, commit) }

// export writes a commit's files, whole or not at all.
func (f *Follower) export(ctx context.Context, commit string) error {
	if _, err := os.Stat(f.folder(commit)); err == nil {
		return nil
	}
	if err := os.MkdirAll(f.Folder, 0o700); err != nil {
		return err
	}
	work, err := os.MkdirTemp(f.Folder, ".new-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	if err := f.Repository.Export(ctx, commit, work); err != nil {
		return fmt.Errorf("write the files of commit %.10s: %w", commit, err)
	}
	return os.Rename(work, f.folder(commit))
}

// forgetAfter is longer than a promotion waits, which knows its estate by the folder of its commit.
const forgetAfter = 60 * 24 * time.Hour

// forget removes the files of commits that are long gone.
func (f *Follower) forget(keep ...string) {
	entries, err := os.ReadDir(f.Folder)
	if err != nil {
		return
	}
	for _, e := range entries {
		kept := false
		for _, k := range keep {
			kept = kept || e.Name() == k
		}
		if info, err := e.Info(); err == nil && !kept && time.Since(info.ModTime()) > forgetAfter {
			_ = os.RemoveAll(filepath.Join(f.Folder, e.Name()))
		}
	}
}

// ErrNothingYet is returned while no commit of the repository has come into force.
var ErrNothingYet = errors.New("no commit of the estate's repository is in force yet")

// Declared is the declared state at the commit in force.
func (f *Follower) Declared(ctx context.Context) (*estate.Estate, error) {
	head, err := f.Store.EstateHead(ctx)
	if err != nil {
		return nil, err
	}
	if head.Commit == "" {
		if head.Problem != "" {
			return nil, fmt.Errorf("%w: %s", ErrNothingYet, head.Problem)
		}
		return nil, ErrNothingYet
	}
	if err := f.export(ctx, head.Commit); err != nil {
		return nil, err
	}
	f.reading.Lock()
	defer f.reading.Unlock()
	if f.read == nil || f.read.Commit != head.Commit { // a commit's files never change
		declared, err := estate.Load(ctx, f.folder(head.Commit))
		if err != nil {
			return nil, err
		}
		declared.Commit, declared.Dirty = head.Commit, false
		f.read = declared
	}
	declared := *f.read
	return &declared, nil
}

// act starts what Git wants and has not been started; busy says that something has to wait for another promotion.
func (f *Follower) act(ctx context.Context, declared *estate.Estate) (busy bool, err error) {
	acted, err := f.acted(ctx)
	if err != nil {
		return false, err
	}
	var errs []error
	for _, t := range declared.Targets {
		before := acted[t.Environment]
		if before.Release == t.Release {
			continue
		}
		waits, err := f.start(ctx, declared, t, before)
		busy = busy || waits
		errs = append(errs, err)
	}
	waits, err := f.configure(ctx, declared)
	return busy || waits, errors.Join(append(errs, err)...)
}

func (f *Follower) acted(ctx context.Context) (map[string]store.Target, error) {
	list, err := f.Store.Targets(ctx)
	byName := map[string]store.Target{}
	for _, t := range list {
		byName[t.Environment] = t
	}
	return byName, err
}

// start starts the promotion that a target asks for, once: what was acted on is written down with it.
func (f *Follower) start(ctx context.Context, declared *estate.Estate, t estate.Target, before store.Target) (waits bool, err error) {
	now := store.Target{Environment: t.Environment, Release: t.Release, Commit: declared.Commit}
	if serves, err := f.Store.Serves(ctx, t.Environment); err != nil {
		return false, err
	} else if serves == t.Release && before.Release == "" { // the first that Git says of it is what is there
		return false, f.Store.PutTarget(ctx, nil, now)
	}
	reversals, err := f.Store.Reversals(ctx)
	if err != nil {
		return false, err
	}
	for _, r := range reversals { // our own commit, of a server that died before it could write that down
		if r.Environment == t.Environment && r.Release == before.Release && r.BackTo == t.Release {
			return false, f.Store.EndReversal(ctx, r, declared.Commit, "")
		}
	}
	by, err := f.asker(ctx, declared, t.File())
	if err != nil {
		return false, err
	}
	id, err := f.Engine.StartWith(ctx, declared, promotion.Request{Kind: promotion.KindPromote, Environment: t.Environment, Release: t.Release, By: by},
		func(tx pgx.Tx, id string) error {
			now.Promotion = id
			if env, there := declared.Environment(t.Environment); there { // the release takes it along
				if err := f.Store.PutConfiguration(ctx, tx, configuration(declared, env, id)); err != nil {
					return err
				}
			}
			return f.Store.PutTarget(ctx, tx, now)
		})
	switch {
	case errors.Is(err, store.ErrTenantBusy):
		return true, f.Store.SetTargetProblem(ctx, t.Environment, "it waits for the end of another promotion")
	case errors.Is(err, promotion.ErrBadRequest):
		return false, f.Store.SetTargetProblem(ctx, t.Environment, oneLine(strings.TrimPrefix(err.Error(), promotion.ErrBadRequest.Error()+": ")))
	case err != nil:
		return false, err
	}
	f.Log.Info("Git asks for a promotion", "environment", t.Environment, "release", t.Release, "commit", declared.Commit, "promotion", id)
	return false, nil
}
