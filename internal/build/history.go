package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// maxSteps is how many commits back an earlier build is looked for.
const maxSteps = 200

// carried is what is known of the last changes up to a commit, from the builds before.
type carried struct {
	known recall
	key   recallKey
	table map[string]int64 // folder → seconds since 1970
	whole bool             // the table is that of this very commit
	err   error
}

// carry looks for what an earlier build found out, and takes it over for the folders that no commit since
// has touched. That holds along a line of commits only; where a merge lies between, Git is asked for each.
func (r *repository) carry(ctx context.Context, commit string, known recall) carried {
	of := func(commit string) recallKey {
		k := newRecallKey("history")
		k.add(commit)
		return k
	}
	c := carried{known: known, key: of(commit), table: map[string]int64{}}
	if c.whole = known.get(c.key, &c.table); c.whole || known.dir == "" {
		return c
	}
	c.table, c.err = r.carryOver(ctx, commit, func(before string) map[string]int64 {
		found := map[string]int64{}
		known.get(of(before), &found)
		return found
	})
	return c
}

// lastChanges is lastChange for many folders. Asking Git for each takes long with many modules, so that
// only those are asked for that nothing is known of.
func (r *repository) lastChanges(ctx context.Context, commit string, folders []string, history carried) (map[string]time.Time, error) {
	if history.err != nil {
		return nil, history.err
	}
	there := history.whole
	times := make([]time.Time, len(folders))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for i, folder := range folders {
		if at, ok := history.table[folder]; ok {
			times[i] = time.Unix(at, 0).UTC()
			continue
		}
		there = false
		group.Go(func() (err error) {
			times[i], err = r.lastChange(gctx, commit, folder)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	changes := map[string]time.Time{}
	keep := map[string]int64{}
	for i, folder := range folders {
		changes[folder], keep[folder] = times[i], times[i].Unix()
	}
	if !there {
		history.known.put(history.key, keep)
	}
	return changes, nil
}

// carryOver goes back from commit to one whose table is known, and brings that up to date. Without one
// the result is empty.
func (r *repository) carryOver(ctx context.Context, commit string, known func(commit string) map[string]int64) (map[string]int64, error) {
	out, err := r.git(ctx, "rev-list", "--parents", "--timestamp", "-n", strconv.Itoa(maxSteps), commit)
	if err != nil {
		return nil, err
	}
	var line []string // commits from the newest
	at := map[string]int64{}
	table := map[string]int64{}
	for text := range strings.Lines(string(out)) {
		fields := strings.Fields(text) // time, commit, parents
		if len(fields) < 2 {
			return nil, fmt.Errorf("git rev-list answered %q, which is not understood", text)
		}
		if len(line) > 0 {
			if table = known(fields[1]); len(table) > 0 {
				break
			}
		}
		if len(fields) != 3 {
			return nil, nil // a merge, or the first commit of all
		}
		if at[fields[1]], err = strconv.ParseInt(fields[0], 10, 64); err != nil {
			return nil, fmt.Errorf("git rev-list: %w", err)
		}
		line = append(line, fields[1])
	}
	if len(table) == 0 {
		return nil, nil
	}
	touched, err := r.touched(ctx, line)
	if err != nil {
		return nil, err
	}
	for i := len(line) - 1; i >= 0; i-- { // the newest has the last word
		for _, file := range touched[line[i]] {
			// A file belongs to each folder above it, one of which may be a module's.
			for end := range file {
				if file[end] == '/' {
					if _, ok := table[file[:end]]; ok {
						table[file[:end]] = max(at[line[i]], 0)
					}
				}
			}
		}
	}
	return table, nil
}

// touched lists the files that each of some commits, none a merge, changed.
func (r *repository) touched(ctx context.Context, commits []string) (map[string][]string, error) {
	cmd := r.command(ctx, "diff-tree", "--stdin", "-r", "-z", "--name-only", "--no-renames")
	cmd.Stdin = strings.NewReader(strings.Join(commits, "\n") + "\n")
	out := bounded{limit: maxGitOutput}
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("git diff-tree: %w", errors.Join(err, errors.New(strings.TrimSpace(stderr.String()))))
	}
	asked := map[string]bool{}
	for _, c := range commits {
		asked[c] = true
	}
	touched := map[string][]string{}
	current := ""
	for name := range strings.SplitSeq(string(out.content), "\x00") {
		switch {
		case asked[name]: // a commit that changed nothing is not named
			current = name
		case name != "" && current == "":
			return nil, fmt.Errorf("git diff-tree answered %q before any commit", name)
		case name != "":
			touched[current] = append(touched[current], name)
		}
	}
	return touched, nil
}
