// Package rehearsal holds a corpus of small changes to addons, each with what a rehearsal must find, and rehearses them
// on a real Odoo.
package rehearsal

import (
	"context"
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/waybill-dev/waybill/test/corpus"
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

func readChanges() ([]change, error) {
	entries, err := corpus.Read(files)
	if err != nil {
		return nil, err
	}
	var all []change
	for _, e := range entries {
		c := change{name: e.Name, expect: e.Head, old: map[string]string{}, new: map[string]string{}}
		for name, content := range e.Files {
			switch side, path, _ := strings.Cut(name, "/"); side {
			case "old":
				c.old[path] = content
			case "new":
				c.new[path] = content
			default:
				return nil, fmt.Errorf("%s: %s is neither old nor new", e.Name, name)
			}
		}
		if c.expect["class"] == "" || c.expect["cause"] == "" || len(c.old) == 0 || len(c.new) == 0 {
			return nil, fmt.Errorf("%s: class, cause, old and new are needed", e.Name)
		}
		all = append(all, c)
	}
	return all, nil
}

// module is the folder that a change is about.
func (c change) module() string { return "wbc_" + c.name }

// writeSource makes a Git repository: the tag "old" has every module as it was, and the tag of a change's name differs
// from it in that one module.
func writeSource(ctx context.Context, dir string, all []change) error {
	repository := corpus.Repository(dir)
	if err := repository.Init(ctx); err != nil {
		return err
	}
	for _, c := range all {
		if err := repository.Write(c.old); err != nil {
			return err
		}
	}
	if err := repository.Tag(ctx, "old"); err != nil {
		return err
	}
	for _, c := range all {
		if err := tagTogether(ctx, dir, c.name, c); err != nil {
			return err
		}
	}
	return nil
}

// tagTogether makes a tag in a repository of writeSource that differs from "old" in all these changes.
func tagTogether(ctx context.Context, dir, tag string, all ...change) error {
	repository := corpus.Repository(dir)
	if err := repository.Git(ctx, "checkout", "-q", "old"); err != nil {
		return err
	}
	for _, c := range all {
		if err := os.RemoveAll(filepath.Join(dir, "addons", c.module())); err != nil {
			return err
		}
		if err := repository.Write(c.new); err != nil {
			return err
		}
	}
	return repository.Tag(ctx, tag)
}
