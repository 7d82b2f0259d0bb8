// Package faults holds a corpus of faults that a release can have and that no probe sees, and promotes
// them on a real Odoo with people at work: each must be taken back, for the reason that it is.
package faults

import (
	"context"
	"embed"
	"fmt"
	"os"
	"path/filepath"

	"github.com/waybill-dev/waybill/examples/acme"
	"github.com/waybill-dev/waybill/test/corpus"
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

func readFaults() ([]fault, error) {
	entries, err := corpus.Read(files)
	if err != nil {
		return nil, err
	}
	var all []fault
	for _, e := range entries {
		f := fault{name: e.Name, head: e.Head, files: e.Files}
		if f.head["traffic"] == "" || len(f.files) == 0 || f.clean() != (f.head["signal"] == "") || f.clean() == (f.head["fault"] != "") {
			return nil, fmt.Errorf("%s: fault and signal, or clean, and traffic and a file are needed", e.Name)
		}
		all = append(all, f)
	}
	return all, nil
}

// writeSource makes a Git repository with a tag for each release, all of which differ from Acme's first alone.
func writeSource(ctx context.Context, dir string, all []fault) error {
	repository := corpus.Repository(dir)
	if err := repository.Init(ctx); err != nil {
		return err
	}
	for _, f := range all {
		if err := os.RemoveAll(filepath.Join(dir, "addons")); err != nil {
			return err
		}
		if err := acme.WriteRelease(dir, "r1"); err != nil {
			return err
		}
		if err := repository.Write(f.files); err != nil {
			return err
		}
		if err := repository.Tag(ctx, f.name); err != nil {
			return err
		}
	}
	return nil
}
