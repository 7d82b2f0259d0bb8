package router

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

const tableFile = "table.json"

// saveTable replaces the table on disk, so that a crash at any moment leaves the old or the new one.
func saveTable(dir string, encoded []byte) (err error) {
	name := filepath.Join(dir, tableFile)
	defer func() {
		if err != nil {
			err = fmt.Errorf("keep the routing table in %s for the router's next start: %w", name, err)
		}
	}()
	f, err := os.CreateTemp(dir, tableFile+".*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // what matters is the first error
		}
	}()
	_, err = f.Write(encoded)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err = os.Rename(f.Name(), name); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// loadTable returns the table that was in force, or nil where there was none.
func loadTable(dir string) (*Table, error) {
	f, err := os.Open(filepath.Join(dir, tableFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxTableSize+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxTableSize {
		return nil, fmt.Errorf("%s is longer than %d bytes", f.Name(), maxTableSize)
	}
	t, err := parseTable(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return t, nil
}

func parseTable(data []byte) (*Table, error) {
	var t Table
	if err := json.Unmarshal(data, &t); err != nil {
		return nil, err
	}
	return &t, t.Validate()
}

// sweepState removes what a crash in the middle of saveTable left behind.
func sweepState(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, tableFile+".*.tmp"))
	for _, name := range left {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}
