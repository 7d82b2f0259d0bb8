// Package filestore is where the files of one tenant's attachments are: a folder that Odoo works in, or a prefix of a bucket. A file's name is two
// digits of the SHA-1 of its content, then all of it (odoo/addons/base/models/ir_attachment.py); so one that is there is never replaced.
package filestore

import (
	"context"
	"errors"
	"io"
	"regexp"
	"strings"
)

// ErrNotItsName is returned for a content whose SHA-1 is not the file's name, and for what stands at that name and is no regular file.
var ErrNotItsName = errors.New("the content's SHA-1 is not the file's name")

// Added says what became of a file that was to be added.
type Added int

// What became of it.
const (
	New      Added = iota // it was stored
	Kept                  // it was there already
	Conflict              // something else of another size is there, and stays
)

// Store is one tenant's files. Methods on a name return an error for one that is not Valid. Without any file a store does not exist, which is fine to all methods.
type Store interface {
	// String is the folder or the bucket's URL with the prefix, for people.
	String() string
	// Open returns a file's content and its size in bytes; fs.ErrNotExist, or ErrNotItsName for what is no regular file.
	// The content is not compared with the name: see Named.
	Open(ctx context.Context, name string) (io.ReadCloser, int64, error)
	// Stat returns a file's size in bytes; fs.ErrNotExist.
	Stat(ctx context.Context, name string) (int64, error)
	// Add stores what content writes, of size bytes, unless the file is there; content is called at most once. Nothing is there
	// before all of it is, and nothing where its SHA-1 is not the name: ErrNotItsName.
	Add(ctx context.Context, name string, size int64, content func(io.Writer) error) (Added, error)
	// Delete removes one file. Absent is fine.
	Delete(ctx context.Context, name string) error
	// Each calls fn with every file and its size in bytes, in no order, until one returns an error. Marks are no files.
	Each(ctx context.Context, fn func(name string, size int64) error) error
	// Sizes is the size in bytes of each file in one of the 256 folders, by name: "aa/" and what follows.
	Sizes(ctx context.Context, folder string) (map[string]int64, error)
	// Exists says whether there is anything at all.
	Exists(ctx context.Context) (bool, error)
	// RemoveAll removes everything, marks too.
	RemoveAll(ctx context.Context) error

	// Mark writes a file down for Odoo's garbage collection; Unmark takes that back; Marked is all that are.
	Mark(ctx context.Context, name string) error
	Unmark(ctx context.Context, name string) error
	Marked(ctx context.Context) ([]string, error)
}

var fileName = regexp.MustCompile(`^([0-9a-f]{2})/([0-9a-f]{40})$`)

// Valid says whether a file may have that name. Anything else never becomes a path or a key.
func Valid(name string) bool {
	m := fileName.FindStringSubmatch(name)
	return m != nil && strings.HasPrefix(m[2], m[1])
}
