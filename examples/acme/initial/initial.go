// Package initial keeps Acme's first database between runs: r1's modules and something to sell, as
// a checkpoint with the keys that open it. Making it takes a minute or two, taking it from the
// cache a second.
package initial

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/waybill-dev/waybill/examples/acme"
	"github.com/waybill-dev/waybill/examples/acme/client"
)

// Database is what is at hand.
type Database struct {
	Checkpoint string       `json:"checkpoint"` // id, or ENVIRONMENT/TENANT/ID, as the user of the cache likes; empty while there is none
	Clerk      string       `json:"clerk"`      // password; of a toy company on this machine
	Goods      client.Goods `json:"goods"`
}

// Cache is a folder of such databases. An empty Folder keeps nothing.
type Cache struct {
	Folder string
	Kind   string // what is kept; two kinds do not mix
	Base   string // image that the database was made with, oci:FOLDER or rootfs:FILE
}

const file = "initial.json"

// kept are the folders of the data folder that a cached checkpoint needs.
var kept = []string{"keys", "objects"}

// entry is named by what the database depends on: r1's files and the base image.
func (c Cache) entry() (string, error) {
	key, err := acme.Fingerprint("r1")
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "2 %s\n%s\n", c.Kind, key)
	switch kind, path, _ := strings.Cut(c.Base, ":"); kind {
	case "oci":
		index, err := os.ReadFile(filepath.Join(path, "index.json")) // holds the manifest's digest
		if err != nil {
			return "", fmt.Errorf("base image %s is no OCI layout: %w", c.Base, err)
		}
		sum.Write(index)
	case "rootfs":
		info, err := os.Stat(path)
		if err != nil {
			return "", fmt.Errorf("base image: %w", err)
		}
		fmt.Fprintln(sum, path, info.Size(), info.ModTime().UnixNano())
	default:
		return "", fmt.Errorf("base image %q: expected oci:FOLDER or rootfs:FILE", c.Base)
	}
	return filepath.Join(c.Folder, hex.EncodeToString(sum.Sum(nil))[:16]), nil
}

// Take lays keys and checkpoint of an earlier run into a data folder, before the server starts.
// Where nothing is cached, it answers with a fresh password and no checkpoint.
func (c Cache) Take(data string) (Database, error) {
	fresh := Database{Clerk: rand.Text()}
	if c.Folder == "" {
		return fresh, nil
	}
	entry, err := c.entry()
	if err != nil {
		return fresh, err
	}
	content, err := os.ReadFile(filepath.Join(entry, file))
	if errors.Is(err, fs.ErrNotExist) {
		return fresh, nil
	} else if err != nil {
		return fresh, err
	}
	var d Database
	if err := json.Unmarshal(content, &d); err != nil {
		return fresh, fmt.Errorf("%s: %w; remove the folder", entry, err)
	}
	for _, name := range kept {
		if err := copyFolder(filepath.Join(entry, name), filepath.Join(data, name)); err != nil {
			return fresh, fmt.Errorf("take the initial database from the cache: %w", err)
		}
	}
	return d, nil
}

// Keep stores the database for the next run. The entry gets its name when it is whole.
func (c Cache) Keep(data string, d Database) error {
	if c.Folder == "" {
		return nil
	}
	entry, err := c.entry()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.Folder, 0o700); err != nil {
		return err
	}
	partial, err := os.MkdirTemp(c.Folder, ".partial-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(partial) }()
	for _, name := range kept {
		if err := copyFolder(filepath.Join(data, name), filepath.Join(partial, name)); err != nil {
			return fmt.Errorf("keep the initial database: %w", err)
		}
	}
	content, err := json.Marshal(d)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(partial, file), content, 0o600); err != nil {
		return err
	}
	if err := os.RemoveAll(entry); err != nil {
		return err
	}
	return os.Rename(partial, entry)
}

// copyFolder copies files with their permissions: keys stay private.
func copyFolder(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		target := filepath.Join(to, name)
		switch {
		case entry.IsDir():
			return os.MkdirAll(target, info.Mode().Perm())
		case !info.Mode().IsRegular():
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, content, info.Mode().Perm())
	})
}
