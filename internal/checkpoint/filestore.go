package checkpoint

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"gocloud.dev/blob"
	"golang.org/x/sync/errgroup"

	"github.com/waybill-dev/waybill/internal/filestore"
)

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
		if ok && o.Size > 0 && filestore.Valid(name) {
			found[name] = o
		}
		return nil
	})
	return found, err
}

// copyFiles stores those files that the bucket lacks.
func (s *Store) copyFiles(ctx context.Context, ref Ref, from filestore.Store, names []string, m *Manifest, progress func(Progress)) error {
	total := int64(len(names))
	names = slices.DeleteFunc(names, func(name string) bool {
		if !filestore.Valid(name) {
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
		var sizes map[string]int64
		if from != nil {
			if sizes, err = from.Sizes(ctx, prefix); err != nil {
				return err
			}
		}
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(s.parallel())
		for _, name := range names {
			group.Go(func() error {
				size, there := sizes[name]
				stored := int64(0)
				var err error
				if !there || have[name] == nil {
					size, stored, err = s.copyFile(ctx, ref, from, name)
				}
				mu.Lock()
				defer mu.Unlock()
				switch {
				case errors.Is(err, fs.ErrNotExist):
					m.Missing = append(m.Missing, name)
				case errors.Is(err, filestore.ErrNotItsName):
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

// copyFile stores one file.
func (s *Store) copyFile(ctx context.Context, ref Ref, from filestore.Store, name string) (size, stored int64, err error) {
	if from == nil {
		return 0, 0, fs.ErrNotExist
	}
	content, size, err := from.Open(ctx, name)
	if err != nil {
		return 0, 0, err
	}
	defer content.Close()
	return s.put(ctx, ref.fileKey(name), &namedReader{r: content, name: name}, size)
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
		return got, filestore.ErrNotItsName
	}
	return got, err
}

// addFile puts one file into a filestore where it is not there yet. Nothing there is ever replaced.
func (s *Store) addFile(ctx context.Context, ref Ref, to filestore.Store, file File) (filestore.Added, error) {
	added, err := to.Add(ctx, file.Name, file.Size, func(w io.Writer) error {
		return s.get(ctx, ref.fileKey(file.Name), func(r io.Reader) error {
			_, err := io.Copy(w, r)
			return err
		})
	})
	if errors.Is(err, filestore.ErrNotItsName) {
		err = fmt.Errorf("object %s is %w: %w", ref.fileKey(file.Name), ErrDamaged, err)
	}
	return added, err
}

func spaceError(dir string, err error) error {
	if err != nil && noSpace(err) {
		return fmt.Errorf("%w on %s: free some: %w", ErrNoSpace, dir, err)
	}
	return err
}
