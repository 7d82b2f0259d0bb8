// Package rehearsal holds a corpus of small changes to addons, each with what a rehearsal must find, and rehearses them
// on a real Odoo.
package rehearsal

import (
	"context"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/tools/txtar"
)

//go:embed corpus/*.txtar
var files embed.FS

// change is one file of the corpus. Its head says what is expected: "class" (or fails), part of the "cause", and further
// "key: value" lines; "seed" is SQL that runs on the old release's database.
type change struct {
	name   string
	expect map[string]string
	old    map[string]string // files by path
	new    map[string]string
}

func corpus() ([]change, error) {
	entries, err := files.ReadDir("corpus")
	if err != nil {
		return nil, err
	}
	var all []change
	for _, e := range entries {
		content, err := files.ReadFile("corpus/" + e.Name())
		if err != nil {
			return nil, err
		}
		archive := txtar.Parse(content)
		c := change{name: strings.TrimSuffix(e.Name(), ".txtar"), expect: map[string]string{}, old: map[string]string{}, new: map[string]string{}}
		for line := range strings.Lines(string(archive.Comment)) {
			if key, value, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
				c.expect[key] = value
			}
		}
		for _, f := range archive.Files {
			switch side, path, _ := strings.Cut(f.Name, "/"); side {
			case "old":
				c.old[path] = string(f.Data)
			case "new":
				c.new[path] = string(f.Data)
			default:
				return nil, fmt.Errorf("%s: %s is neither old nor new", e.Name(), f.Name)
			}
		}
		if c.expect["class"] == "" || c.expect["cause"] == "" || len(c.old) == 0 || len(c.new) == 0 {
			return nil, fmt.Errorf("%s: class, cause, old and new are needed", e.Name())
		}
		all = append(all, c)
	}
	return all, nil
}

// module is the folder that a change is about.
func (c change) module() string { return "wbc_" + c.name }

// writeSource makes a Git repository: the tag "old" has every module as it was, and the tag of a change's name differs
// from it in that one module.
func writeSource(ctx context.Context, dir string, changes []change) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := git(ctx, dir, "init", "-q"); err != nil {
		return err
	}
	for _, c := range changes {
		if err := writeFiles(dir, c.old); err != nil {
			return err
		}
	}
	if err := commit(ctx, dir, "old"); err != nil {
		return err
	}
	for _, c := range changes {
		if err := tagTogether(ctx, dir, c.name, c); err != nil {
			return err
		}
	}
	return nil
}

// tagTogether makes a tag in a repository of writeSource that differs from "old" in all these changes.
func tagTogether(ctx context.Context, dir, tag string, changes ...change) error {
	if err := git(ctx, dir, "checkout", "-q", "old"); err != nil {
		return err
	}
	for _, c := range changes {
		if err := os.RemoveAll(filepath.Join(dir, "addons", c.module())); err != nil {
			return err
		}
		if err := writeFiles(dir, c.new); err != nil {
			return err
		}
	}
	return commit(ctx, dir, tag)
}

func git(ctx context.Context, dir string, args ...string) error {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-c", "user.name=Corpus", "-c", "user.email=corpus@example.com", "-c", "init.defaultBranch=main", "-c", "advice.detachedHead=false"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_AUTHOR_DATE=2026-01-01T00:00:00Z", "GIT_COMMITTER_DATE=2026-01-01T00:00:00Z")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("git %v: %w: %s", args, err, out)
	}
	return nil
}

// commit commits everything and tags it.
func commit(ctx context.Context, dir, tag string) error {
	for _, args := range [][]string{{"add", "-A"}, {"commit", "-q", "--no-gpg-sign", "-m", tag}, {"tag", tag}} {
		if err := git(ctx, dir, args...); err != nil {
			return err
		}
	}
	return nil
}

// writeFiles lays a change's files into the repository.
func writeFiles(dir string, files map[string]string) error {
	for path, text := range files {
		path = filepath.Join(dir, "addons", path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
