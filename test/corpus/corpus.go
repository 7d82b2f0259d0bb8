// Package corpus reads releases that are made for tests from txtar files, and lays them down as Git repositories with a tag each.
package corpus

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/tools/txtar"
)

// Entry is one file: "key: value" lines before the first file, and the files.
type Entry struct {
	Name  string // of the file, without its end
	Head  map[string]string
	Files map[string]string // by path
}

// Read returns the entries of the folder corpus, by name.
func Read(files fs.FS) ([]Entry, error) {
	names, err := fs.Glob(files, "corpus/*.txtar")
	if err != nil {
		return nil, err
	}
	var all []Entry
	for _, name := range names {
		content, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		archive := txtar.Parse(content)
		e := Entry{Name: strings.TrimSuffix(path.Base(name), ".txtar"), Head: map[string]string{}, Files: map[string]string{}}
		for line := range strings.Lines(string(archive.Comment)) {
			if key, value, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
				e.Head[key] = value
			}
		}
		for _, file := range archive.Files {
			e.Files[file.Name] = string(file.Data)
		}
		all = append(all, e)
	}
	return all, nil
}

// Repository is a folder with a Git repository of Odoo modules. Its commits have all the same time.
type Repository string

// Init makes it.
func (r Repository) Init(ctx context.Context) error {
	if err := os.MkdirAll(string(r), 0o755); err != nil {
		return err
	}
	return r.Git(ctx, "init", "-q")
}

// Write lays files below the folder addons, by path.
func (r Repository) Write(files map[string]string) error {
	for path, text := range files {
		path = filepath.Join(string(r), "addons", filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Tag commits everything there is under a tag.
func (r Repository) Tag(ctx context.Context, tag string) error {
	for _, args := range [][]string{{"add", "-A"}, {"commit", "-q", "--no-gpg-sign", "-m", tag}, {"tag", tag}} {
		if err := r.Git(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

// Git runs a command of git there, untouched by anybody's configuration.
func (r Repository) Git(ctx context.Context, args ...string) error {
	command := exec.CommandContext(ctx, "git", append([]string{"-c", "user.name=Corpus", "-c", "user.email=corpus@example.com", "-c", "init.defaultBranch=main", "-c", "advice.detachedHead=false"}, args...)...)
	command.Dir = string(r)
	command.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_AUTHOR_DATE=2026-01-01T00:00:00Z", "GIT_COMMITTER_DATE=2026-01-01T00:00:00Z")
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("git %v in %s: %w: %s", args, r, err, out)
	}
	return nil
}
