package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/estate"
)

func (a *app) initEstate() *cobra.Command {
	return &cobra.Command{
		Use:   "init FOLDER [NAME]",
		Short: "Write the skeleton of an estate into a folder",
		Long: `Write the skeleton of an estate into a folder: product, a test and a production
environment, and a tenant in each, with every field explained. Nothing that is there
already is overwritten.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return usagef("waybill init: expected FOLDER and perhaps NAME; see: waybill init --help")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			name := filepath.Base(args[0])
			if abs, err := filepath.Abs(args[0]); err == nil {
				name = filepath.Base(abs)
			}
			if len(args) == 2 {
				name = args[1]
			}
			files := estate.Skeleton(name)
			if _, err := estate.Parse(documents(files)); err != nil {
				return usagef("%q cannot be the product's name: %w", name, err)
			}
			var written []string
			for path := range files {
				if _, err := os.Lstat(filepath.Join(args[0], path)); !errors.Is(err, fs.ErrNotExist) {
					return usagef("%s is there already; nothing was written", filepath.Join(args[0], path))
				}
				written = append(written, path)
			}
			slices.Sort(written)
			for _, path := range written {
				full := filepath.Join(args[0], path)
				if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
					return err
				}
				if err := os.WriteFile(full, []byte(files[path]), 0o644); err != nil {
					return err
				}
			}
			return a.print(written, func(w io.Writer) {
				for _, path := range written {
					fmt.Fprintln(w, filepath.Join(args[0], path))
				}
				fmt.Fprintf(w, "\nNext: look through these files, then: waybill up --estate %s\n", args[0])
			})
		},
	}
}

// documents are the files that are the estate itself; others help an editor.
func documents(files map[string]string) map[string][]byte {
	out := map[string][]byte{}
	for name, content := range files {
		if filepath.Ext(name) == ".yaml" {
			out[name] = []byte(content)
		}
	}
	return out
}
