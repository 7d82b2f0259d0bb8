package gateway

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"strings"
	"sync"

	"github.com/waybill-dev/waybill/internal/filestore"
)

// memory stands in for a bucket.
type memory struct {
	mu      sync.Mutex
	objects map[string][]byte
}

type below struct {
	filestore.Store
	*memory
	prefix string
}

func (m *memory) open(prefix, database string) (filestore.Store, error) {
	return below{nil, m, prefix + Segment(database) + "/"}, nil
}

func (b below) get(name string) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	content, ok := b.objects[b.prefix+name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return content, nil
}

func (b below) Open(_ context.Context, name string) (io.ReadCloser, int64, error) {
	content, err := b.get(name)
	return io.NopCloser(bytes.NewReader(content)), int64(len(content)), err
}

func (b below) Stat(_ context.Context, name string) (int64, error) {
	content, err := b.get(name)
	return int64(len(content)), err
}

func (b below) Add(_ context.Context, file string, size int64, content func(io.Writer) error) (filestore.Added, error) {
	if have, err := b.get(file); err == nil {
		if int64(len(have)) != size {
			return filestore.Conflict, nil
		}
		return filestore.Kept, nil
	}
	var got bytes.Buffer
	if err := content(&got); err != nil {
		return 0, err
	}
	if name(got.Bytes()) != file {
		return 0, filestore.ErrNotItsName
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.objects[b.prefix+file] = got.Bytes()
	return filestore.New, nil
}

func (b below) Delete(_ context.Context, name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.objects, b.prefix+name)
	return nil
}

func (b below) Mark(_ context.Context, name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.objects[b.prefix+"checklist/"+name] = nil
	return nil
}

func (b below) Unmark(ctx context.Context, name string) error {
	return b.Delete(ctx, "checklist/"+name)
}

func (b below) Marked(context.Context) (found []string, _ error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for k := range b.objects {
		if name, ok := strings.CutPrefix(k, b.prefix+"checklist/"); ok {
			found = append(found, name)
		}
	}
	return found, nil
}
