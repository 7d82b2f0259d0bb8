package gitops

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/promotion"
)

// Folder is an estate that is a folder: a tenant that is made or deleted is a file of it that is written or removed. Where
// the folder is somebody's work tree, committing is theirs.
type Folder struct {
	Dir string

	mu sync.Mutex
}

// Try tells what a change would come to.
func (f *Folder) Try(ctx context.Context, c estate.Change) (estate.Changed, error) {
	return estate.Apply(ctx, f.Dir, c)
}

// Declare makes it so. There is no commit.
func (f *Folder) Declare(ctx context.Context, c estate.Change, _ promotion.Saying) (commit string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out, err := estate.Apply(ctx, f.Dir, c)
	if err != nil || out.Same {
		return "", err
	}
	path := filepath.Join(f.Dir, filepath.FromSlash(out.File))
	defer func() {
		if errors.Is(err, syscall.EROFS) {
			err = fmt.Errorf("the estate's folder %s cannot be written to here: change %s where the folder comes from, or keep the estate in Git: %w", f.Dir, out.File, err)
		}
	}()
	if out.Content == nil {
		return "", os.Remove(path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	work, err := os.CreateTemp(filepath.Dir(path), ".waybill-*") // hidden: no part of the estate
	if err != nil {
		return "", err
	}
	defer func() { _ = os.Remove(work.Name()) }()
	_, err = work.Write(out.Content)
	if err == nil {
		err = work.Chmod(0o644)
	}
	if err == nil {
		err = work.Sync()
	}
	if failed := work.Close(); err == nil {
		err = failed
	}
	if err != nil {
		return "", fmt.Errorf("write %s: %w", path, err)
	}
	return "", os.Rename(work.Name(), path)
}

// Try tells what a change would come to on top of the branch as it is now, and whether the server may write it.
func (f *Follower) Try(ctx context.Context, c estate.Change) (estate.Changed, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	head, err := f.Repository.Head(ctx)
	if err != nil {
		return estate.Changed{}, err
	}
	return f.try(ctx, head, c)
}

func (f *Follower) try(ctx context.Context, head string, c estate.Change) (estate.Changed, error) {
	if head == "" {
		return estate.Changed{}, ErrNothingYet
	}
	if err := f.export(ctx, head); err != nil {
		return estate.Changed{}, err
	}
	out, err := estate.Apply(ctx, f.folder(head), c)
	if f.Propose == estate.ProposeBranch && !errors.Is(err, estate.ErrUndeclared) { // what nobody has to take out is no change
		return estate.Changed{}, fmt.Errorf("%w: changes of this estate are proposed on a branch and merged by people (propose: branch). Have the document of Tenant %s changed there, and ask again", ErrProtected, c.Tenant)
	}
	if err == nil && f.Check != nil {
		err = f.Check(out.Estate)
	}
	if err == nil {
		err = f.mayWrite(out.File, Message{})
	}
	return out, err
}

// Declare commits a change on top of whatever the branch has, and brings it into force.
func (f *Follower) Declare(ctx context.Context, c estate.Change, s promotion.Saying) (commit string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := Message{Subject: s.Subject, Author: Author{or(s.By, "Waybill"), "waybill@localhost"}, At: time.Now(),
		Trailers: [][2]string{{"Waybill-Environment", c.Environment}, {"Waybill-Tenant", c.Tenant}, {"Waybill-Asked-By", s.Promotion}}}
	for range maxRaces {
		head, err := f.Repository.Head(ctx)
		if err != nil {
			return "", err
		}
		out, err := f.try(ctx, head, c)
		if err != nil || out.Same {
			return head, err
		}
		for _, u := range out.Estate.Access.Users {
			if u.Name == s.By && len(u.Emails) > 0 {
				m.Author.Email = u.Emails[0]
			}
		}
		if commit, err = f.Repository.Commit(ctx, head, map[string][]byte{out.File: out.Content}, m); err != nil {
			return "", err
		}
		switch err := f.Repository.Push(ctx, commit, ""); {
		case err == nil:
			// Where another server is at it, that one takes it over.
			_, err := f.Store.Alone(ctx, f.Take)
			return commit, err
		case !errors.Is(err, ErrMoved):
			return "", err
		}
	}
	return "", fmt.Errorf("the estate's branch moved %d times while a commit was to be added; try again", maxRaces)
}
