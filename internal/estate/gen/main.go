// Command gen writes the JSON Schemas of the estate's documents and of waybills; see go:generate in package estate.
package main

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/waybill"
)

func main() {
	out := flag.String("out", ".", "folder to write to")
	flag.Parse()
	if err := write(*out); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func write(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	schemas := maps.Clone(estate.Schemas())
	document, err := waybill.Schema()
	if err != nil {
		return err
	}
	schemas["waybill"] = document
	for name, content := range schemas {
		if err := os.WriteFile(filepath.Join(folder, name+".json"), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}
