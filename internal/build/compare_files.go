package build

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// FileDifference is one thing in which a file of a layer differs.
type FileDifference struct {
	Path    string `json:"path"` // in the image; quoted where it is no plain text
	Kind    string `json:"kind"` // missing, extra (in the rebuilt layer), type, content, mode, owner, mtime or link
	Release string `json:"release,omitempty"`
	Rebuilt string `json:"rebuilt,omitempty"`
}

// layerContent is what is in a layer.
type layerContent struct {
	diffID string
	files  map[string]layerEntry
}

// layerEntry is a tar header with its content's digest.
type layerEntry struct {
	kind     byte
	mode     int64
	uid, gid int
	mtime    time.Time
	link     string
	content  string // SHA-256 and size, of a file
}

// listLayer reads a layer: its entries, and the digest of all of it unpacked.
func listLayer(ctx context.Context, layer v1.Layer, left *budget) (layerContent, error) {
	opened, err := openLayer(ctx, layer, left)
	if err != nil {
		return layerContent{}, err
	}
	defer opened.Close()
	content := layerContent{files: map[string]layerEntry{}}
	all := sha256.New()
	stream := io.TeeReader(opened, all)
	t := tar.NewReader(stream)
	for {
		header, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = left.entry(header)
		}
		if err != nil {
			return content, opened.explain(err)
		}
		e := layerEntry{kind: header.Typeflag, mode: header.Mode & 0o7777, uid: header.Uid, gid: header.Gid, mtime: header.ModTime, link: header.Linkname}
		if header.Typeflag == tar.TypeReg {
			h := sha256.New()
			n, err := io.Copy(h, io.LimitReader(t, maxExpanded))
			if err != nil {
				return content, opened.explain(fmt.Errorf("%s: %w", printable(header.Name), err))
			}
			e.content = fmt.Sprintf("%s, %d bytes", sum(h), n)
		}
		content.files[strings.TrimPrefix(path.Clean("/"+header.Name), "/")] = e
	}
	if _, err := io.Copy(io.Discard, stream); err != nil {
		return content, opened.explain(err)
	}
	content.diffID = sum(all).String()
	return content, opened.finish()
}

// compareFiles names what differs, in the order of the paths.
func compareFiles(theirs, ours map[string]layerEntry) []FileDifference {
	every := map[string]bool{}
	for name := range theirs {
		every[name] = true
	}
	for name := range ours {
		every[name] = true
	}
	var list []FileDifference
	for _, name := range sortedNames(every) {
		a, there := theirs[name]
		b, here := ours[name]
		say := func(kind, release, rebuilt string) {
			list = append(list, FileDifference{Path: printable(name), Kind: kind, Release: release, Rebuilt: rebuilt})
		}
		switch {
		case !here:
			say("missing", a.describe(), "")
			continue
		case !there:
			say("extra", "", b.describe())
			continue
		case a.kind != b.kind:
			say("type", a.typeName(), b.typeName())
			continue
		}
		if a.content != b.content {
			say("content", a.content, b.content)
		}
		if a.link != b.link {
			say("link", printable(a.link), printable(b.link))
		}
		if a.mode != b.mode {
			say("mode", fmt.Sprintf("%04o", a.mode), fmt.Sprintf("%04o", b.mode))
		}
		if a.uid != b.uid || a.gid != b.gid {
			say("owner", fmt.Sprintf("%d:%d", a.uid, a.gid), fmt.Sprintf("%d:%d", b.uid, b.gid))
		}
		if !a.mtime.Equal(b.mtime) {
			say("mtime", a.mtime.UTC().Format(time.RFC3339), b.mtime.UTC().Format(time.RFC3339))
		}
	}
	return list
}

func (e layerEntry) typeName() string {
	switch e.kind {
	case tar.TypeReg:
		return "file"
	case tar.TypeDir:
		return "folder"
	case tar.TypeSymlink:
		return "link"
	case tar.TypeLink:
		return "hard link"
	}
	return fmt.Sprintf("entry of type %q", e.kind)
}

func (e layerEntry) describe() string {
	switch e.kind {
	case tar.TypeReg:
		return "file, " + e.content
	case tar.TypeSymlink, tar.TypeLink:
		return e.typeName() + " to " + printable(e.link)
	}
	return e.typeName()
}
