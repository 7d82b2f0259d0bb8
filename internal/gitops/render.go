package gitops

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/estate"
)

// renderedHead is how each file of the rendered folder begins.
const renderedHead = estate.RenderedMark + "To change what runs, change what is declared.\n"

// render writes down in Git what runs, for people to read and compare; it changes nothing that is declared. An environment in which
// something is under way waits until that has ended: the weights of a shift are of no use to anybody a minute later.
func (f *Follower) render(ctx context.Context) error {
	if f.Rendered == nil {
		return nil
	}
	all, err := f.Rendered(ctx)
	if err != nil {
		return fmt.Errorf("write down what runs: %w", err)
	}
	for range maxRaces {
		head, err := f.Repository.Head(ctx)
		if err != nil || head == "" {
			return err
		}
		moves, err := f.underWay(ctx, all)
		if err != nil {
			return err
		}
		now := renderedSum(head, moves, all)
		if now == f.written {
			return nil
		}
		commit, err := f.renderOn(ctx, head, moves, all)
		if err != nil {
			return fmt.Errorf("write down what runs: %w", err)
		}
		if commit == "" {
			f.written = now
			return nil
		}
		if err = f.Repository.Push(ctx, commit, ""); err == nil {
			f.Log.Info("what runs is written down in Git", "commit", commit)
			return f.Take(ctx)
		} else if !errors.Is(err, ErrMoved) {
			return err
		}
	}
	return fmt.Errorf("the estate's branch moved %d times while a commit was to be added; try again", maxRaces)
}

// underWay are the environments with a promotion that has not ended.
func (f *Follower) underWay(ctx context.Context, all map[string][]byte) (moves []string, err error) {
	known := map[string]bool{}
	for name := range all {
		known[environmentOf(name)] = true
	}
	for _, environment := range slices.Sorted(maps.Keys(known)) {
		open, err := f.Store.Open(ctx, environment)
		if err != nil {
			return nil, err
		}
		if open {
			moves = append(moves, environment)
		}
	}
	return moves, nil
}

// renderOn makes the commit on top of head; empty where Git says so already.
func (f *Follower) renderOn(ctx context.Context, head string, moves []string, all map[string][]byte) (commit string, err error) {
	before, err := f.Repository.Files(ctx, head, estate.RenderedFolder)
	if err != nil {
		return "", err
	}
	files, changed := map[string][]byte{}, map[string]bool{}
	put := func(name string, content []byte) {
		if environment := environmentOf(name); !slices.Contains(moves, environment) {
			files[estate.RenderedFolder+"/"+name], changed[environment] = content, true
		}
	}
	for name, content := range all {
		if content = append([]byte(renderedHead), content...); !bytes.Equal(before[name], content) {
			put(name, content)
		}
	}
	for name, content := range before {
		if _, stays := all[name]; !stays && bytes.HasPrefix(content, []byte(estate.RenderedMark)) { // others' files are theirs
			put(name, nil)
		}
	}
	if len(files) == 0 {
		return "", nil
	}
	m := Message{Subject: strings.Join(slices.Sorted(maps.Keys(changed)), ", ") + ": what runs", Author: Author{"Waybill", "waybill@localhost"}, At: time.Now()}
	for file := range files {
		if err := f.mayWrite(file, m); err != nil {
			return "", err
		}
	}
	return f.Repository.Commit(ctx, head, files, m)
}

func renderedSum(head string, moves []string, all map[string][]byte) string {
	sum := sha256.New()
	fmt.Fprintf(sum, "%s %q\n", head, moves)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(sum, "%q %q\n", name, all[name])
	}
	return string(sum.Sum(nil))
}

// environmentOf is the folder that a file is in.
func environmentOf(name string) string {
	folder, _, _ := strings.Cut(name, "/")
	return folder
}
