package checkpoint

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"

	"gocloud.dev/blob"
	"golang.org/x/sync/errgroup"
)

// fileName is how Odoo names a file: two digits of the SHA-1 of its content, then all of it
// (odoo/addons/base/models/ir_attachment.py). Anything else never becomes a path.
var fileName = regexp.MustCompile(`^([0-9a-f]{2})/([0-9a-f]{40})$`)

func validFile(name string) bool {
	m := fileName.FindStringSubmatch(name)
	return m != nil && strings.HasPrefix(m[2], m[1])
}

// groups calls fn for each run of names with the same first two digits; so only one folder's listing is in memory.
func groups(names []string, fn func(folder string, names []string) error) error {
	for len(names) > 0 {
		n := 1
		for n < len(names) && names[n][:3] == names[0][:3] {
			n++
		}
		if err := fn(names[0][:3], names[:n]); err != nil {
			return err
		}
		names = names[n:]
	}
	return nil
}

// stored lists the objects of one folder of a tenant's filestore by their file's name.
func (s *Store) stored(ctx context.Context, env, tenant, folder string) (map[string]*blob.ListObject, error) {
	prefix := filesPrefix(env, tenant)
	found := map[string]*blob.ListObject{}
	err := s.each(ctx, prefix+folder, func(o *blob.ListObject) error {
		name, ok := strings.CutSuffix(strings.TrimPrefix(o.Key, prefix), sealed)
		if ok && o.Size > 0 && validFile(name) {
			found[name] = o
		}
		return nil
	})
	return found, err
}

// copyFiles stores those files that the bucket lacks.
func (s *Store) copyFiles(ctx context.Context, ref Ref, folder string, names []string, m *Manifest, progress func(Progress)) error {
	total := int64(len(names))
	names = slices.DeleteFunc(names, func(name string) bool {
		if !validFile(name) {
			m.Missing = append(m.Missing, name)
			return true
		}
		return false
	})
	var mu sync.Mutex // guards m and finished
	finished := total - int64(len(names))
	progress(Progress{Stage: "filestore", Done: finished, Total: total})
	err := groups(names, func(prefix string, names []string) error {
		have, err := s.stored(ctx, ref.Environment, ref.Tenant, prefix)
		if err != nil {
			return err
		}
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(s.parallel())
		for _, name := range names {
			group.Go(func() error {
				size, stored, err := s.copyFile(ctx, ref, folder, name, have[name] != nil)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case errors.Is(err, fs.ErrNotExist):
					m.Missing = append(m.Missing, name)
				case errors.Is(err, errNotItsName):
					m.Damaged = append(m.Damaged, name)
				case err != nil:
					return err
				default:
					m.Files = append(m.Files, File{Name: name, Size: size})
					if stored > 0 {
						m.NewFiles++
						m.Bytes += stored
					}
				}
				finished++
				progress(Progress{Stage: "filestore", Done: finished, Total: total})
				return nil
			})
		}
		return group.Wait()
	})
	slices.SortFunc(m.Files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	slices.Sort(m.Missing)
	slices.Sort(m.Damaged)
	return err
}

var errNotItsName = errors.New("the content's SHA-1 is not the file's name")

// copyFile stores one file unless the bucket has it; stored is 0 then.
func (s *Store) copyFile(ctx context.Context, ref Ref, folder, name string, have bool) (size, stored int64, err error) {
	if folder == "" {
		return 0, 0, fs.ErrNotExist
	}
	f, err := os.OpenFile(filepath.Join(folder, name), os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, syscall.ELOOP) {
		return 0, 0, errNotItsName // a link may point at anything of this machine
	}
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, 0, err
	}
	if !info.Mode().IsRegular() {
		return 0, 0, errNotItsName
	}
	if have {
		return info.Size(), 0, nil
	}
	return s.put(ctx, ref.fileKey(name), &namedReader{r: f, name: name}, info.Size())
}

// namedReader fails at the end when the content is not what the name says, so that what is being
// written from it is thrown away.
type namedReader struct {
	r    io.Reader
	name string
	sum  interface {
		io.Writer
		Sum([]byte) []byte
	}
}

func (n *namedReader) Read(p []byte) (int, error) {
	if n.sum == nil {
		n.sum = sha1.New()
	}
	got, err := n.r.Read(p)
	n.sum.Write(p[:got])
	if err == io.EOF && hex.EncodeToString(n.sum.Sum(nil)) != n.name[3:] {
		return got, errNotItsName
	}
	return got, err
}

// addFile puts one file into a filestore where it is not there yet. Nothing there is ever replaced.
func (s *Store) addFile(ctx context.Context, ref Ref, folder string, file File, own owner) (added, conflict bool, err error) {
	path := filepath.Join(folder, file.Name)
	if info, err := os.Lstat(path); err == nil {
		return false, info.Size() != file.Size, nil
	}
	dir := filepath.Dir(path)
	if err := own.mkdir(dir); err != nil {
		return false, false, err
	}
	tmp, err := os.CreateTemp(dir, ".waybill-*")
	if err != nil {
		return false, false, spaceError(dir, err)
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	err = s.get(ctx, ref.fileKey(file.Name), func(r io.Reader) error {
		_, err := io.Copy(tmp, &namedReader{r: r, name: file.Name})
		if errors.Is(err, errNotItsName) {
			return fmt.Errorf("object %s is %w: %w", ref.fileKey(file.Name), ErrDamaged, err)
		}
		return spaceError(dir, err)
	})
	if err == nil {
		err = errors.Join(tmp.Chmod(0o644), own.chown(tmp.Name()))
	}
	if err != nil {
		return false, false, err
	}
	err = os.Link(tmp.Name(), path) // unlike a rename it never replaces
	if errors.Is(err, fs.ErrExist) {
		return false, false, nil // Odoo wrote the same content meanwhile
	}
	return err == nil, false, err
}

func spaceError(dir string, err error) error {
	if err != nil && noSpace(err) {
		return fmt.Errorf("%w on %s: free some: %w", ErrNoSpace, dir, err)
	}
	return err
}

// owner is whom new files of a filestore shall belong to: the folder's own, so that Odoo can read them.
type owner struct {
	folder   string
	uid, gid int
}

// ownerOf looks at the folder, or at the nearest one above that exists.
func ownerOf(folder string) (owner, error) {
	for dir := folder; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir) {
			continue
		}
		if err != nil {
			return owner{}, err
		}
		if !info.IsDir() {
			return owner{}, fmt.Errorf("%s is no folder", dir)
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return owner{folder, os.Geteuid(), os.Getegid()}, nil
		}
		return owner{folder, int(st.Uid), int(st.Gid)}, nil
	}
}

func (o owner) chown(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return os.Lchown(path, o.uid, o.gid)
}

func (o owner) mkdir(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	if err := o.mkdir(filepath.Dir(dir)); err != nil {
		return err
	}
	err := os.Mkdir(dir, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return o.chown(dir)
}
