// Package faults holds a corpus of faults that a release can have and that no probe sees, and promotes
// them on a real Odoo with people at work: each must be taken back, for the reason that it is.
package faults

import (
	"context"
	"embed"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/tools/txtar"

	"github.com/waybill-dev/waybill/examples/acme"
)

//go:embed corpus/*.txtar
var files embed.FS

// fault is one file of the corpus: what differs from Acme's first release. Its head says what the fault
// is ("fault", or "clean" where there is none), which signal or flow must find it (an expression), what people
// do ("traffic": orders, deliveries or all), how many of their calls the new release must have had ("events"), how
// long it is watched after that ("bake"), which release must run before ("after", and there "prepares"), and whether it is of the core.
type fault struct {
	name  string
	head  map[string]string
	files map[string]string // by path below addons
}

func (f fault) clean() bool { return f.head["clean"] != "" }

// cleans is how many releases with nothing wrong follow each other.
const cleans = 10

func cleanRelease(n int) fault {
	return fault{name: fmt.Sprintf("clean%d", n+1), head: map[string]string{"clean": "nothing that anybody sees", "traffic": "all"},
		files: map[string]string{"acme_label/release.py": fmt.Sprintf("RELEASE = %d\n", n+1)}}
}

func corpus() ([]fault, error) {
	entries, err := files.ReadDir("corpus")
	if err != nil {
		return nil, err
	}
	var all []fault
	for _, e := range entries {
		content, err := files.ReadFile("corpus/" + e.Name())
		if err != nil {
			return nil, err
		}
		archive := txtar.Parse(content)
		f := fault{name: strings.TrimSuffix(e.Name(), ".txtar"), head: map[string]string{}, files: map[string]string{}}
		for line := range strings.Lines(string(archive.Comment)) {
			if key, value, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
				f.head[key] = value
			}
		}
		for _, file := range archive.Files {
			f.files[file.Name] = string(file.Data)
		}
		if f.head["traffic"] == "" || len(f.files) == 0 || f.clean() != (f.head["signal"] == "") || f.clean() == (f.head["fault"] != "") {
			return nil, fmt.Errorf("%s: fault and signal, or clean, and traffic and a file are needed", e.Name())
		}
		all = append(all, f)
	}
	return all, nil
}

// writeSource makes a Git repository with a tag for each release, all of which differ from Acme's first alone.
func writeSource(ctx context.Context, dir string, all []fault) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := git(ctx, dir, "init", "-q", "-b", "main"); err != nil {
		return err
	}
	for _, f := range all {
		if err := os.RemoveAll(filepath.Join(dir, "addons")); err != nil {
			return err
		}
		if err := acme.WriteRelease(dir, "r1"); err != nil {
			return err
		}
		for _, path := range slices.Sorted(maps.Keys(f.files)) {
			target := filepath.Join(dir, "addons", filepath.FromSlash(path))
			if err := os.WriteFile(target, []byte(f.files[path]), 0o644); err != nil {
				return err
			}
		}
		for _, args := range [][]string{{"add", "-A"}, {"commit", "-q", "--no-gpg-sign", "-m", f.name}, {"tag", f.name}} {
			if err := git(ctx, dir, args...); err != nil {
				return err
			}
		}
	}
	return nil
}

func git(ctx context.Context, dir string, args ...string) error {
	command := exec.CommandContext(ctx, "git", args...)
	command.Dir = dir
	command.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull,
		"GIT_AUTHOR_NAME=Faults", "GIT_AUTHOR_EMAIL=faults@example.com", "GIT_COMMITTER_NAME=Faults", "GIT_COMMITTER_EMAIL=faults@example.com")
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("git %v in %s: %w: %s", args, dir, err, out)
	}
	return nil
}
