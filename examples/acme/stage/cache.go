package stage

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

// Initial is what a stage starts from: a database of production with r1's modules and something
// to sell in it.
type Initial struct {
	Checkpoint string       `json:"checkpoint"` // id; empty while there is none
	Clerk      string       `json:"clerk"`      // password; of a toy company on this machine
	Goods      client.Goods `json:"goods"`
}

const initialFile = "initial.json"

// kept are the folders of the data folder that a cached checkpoint needs.
var kept = []string{"keys", "objects"}

// cacheFolder is named by what the initial database depends on: r1's files, the base image and
// the format of what is kept.
func (s *Stage) cacheFolder() (string, error) {
	key, err := acme.Fingerprint("r1")
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "stage 1\n%s\n", key)
	switch kind, path, _ := strings.Cut(s.Base, ":"); kind {
	case "oci":
		index, err := os.ReadFile(filepath.Join(path, "index.json")) // holds the manifest's digest
		if err != nil {
			return "", fmt.Errorf("base image %s is no OCI layout: %w", s.Base, err)
		}
		sum.Write(index)
	case "rootfs":
		info, err := os.Stat(path)
		if err != nil {
			return "", fmt.Errorf("base image: %w", err)
		}
		fmt.Fprintln(sum, path, info.Size(), info.ModTime().UnixNano())
	default:
		return "", fmt.Errorf("base image %q: expected oci:FOLDER or rootfs:FILE", s.Base)
	}
	return filepath.Join(s.Cache, hex.EncodeToString(sum.Sum(nil))[:16]), nil
}

// fromCache lays keys and checkpoint of an earlier run into the data folder, before the server
// starts. Nothing cached is no error.
func (s *Stage) fromCache() error {
	if s.Cache != "" {
		folder, err := s.cacheFolder()
		if err != nil {
			return err
		}
		content, err := os.ReadFile(filepath.Join(folder, initialFile))
		if err == nil {
			if err := json.Unmarshal(content, &s.Initial); err != nil {
				return fmt.Errorf("%s: %w; remove the folder", folder, err)
			}
			for _, name := range kept {
				if err := copyFolder(filepath.Join(folder, name), filepath.Join(s.Data(), name)); err != nil {
					return fmt.Errorf("take the initial database from the cache: %w", err)
				}
			}
			return nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	s.Initial = Initial{Clerk: rand.Text()}
	return nil
}

// toCache keeps the initial database for the next run. The folder gets its name when it is whole.
func (s *Stage) toCache() error {
	if s.Cache == "" {
		return nil
	}
	folder, err := s.cacheFolder()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.Cache, 0o700); err != nil {
		return err
	}
	partial, err := os.MkdirTemp(s.Cache, ".partial-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(partial)
	for _, name := range kept {
		if err := copyFolder(filepath.Join(s.Data(), name), filepath.Join(partial, name)); err != nil {
			return fmt.Errorf("keep the initial database: %w", err)
		}
	}
	content, err := json.Marshal(s.Initial)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(partial, initialFile), content, 0o600); err != nil {
		return err
	}
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	return os.Rename(partial, folder)
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
