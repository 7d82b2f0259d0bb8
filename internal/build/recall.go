package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// recall keeps what earlier builds on this machine found out about content that Git names by its
// digest, so that a build does only what has changed. The zero value remembers nothing. What it says
// is a shortcut and never believed over the content: a layer that comes out differently is an error.
type recall struct{ dir string }

func newRecall(cache string) recall { return recall{filepath.Join(cache, "build")} }

// recallKey is a digest of all that a thing depends on.
type recallKey struct{ h hash.Hash }

// recallVersion changes when layers or checksums come out differently.
const recallVersion = "1"

// newRecallKey begins a key. It holds all of this program that has a say in what comes out, down to the
// compressor and Go's tar: another Waybill begins anew.
func newRecallKey(kind string) recallKey {
	k := recallKey{sha256.New()}
	k.add(kind, recallVersion, program())
	return k
}

// program names this binary's source, as far as it was stamped.
var program = sync.OnceValue(func() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return runtime.Version()
	}
	parts := []string{info.GoVersion, info.Main.Version}
	for _, s := range info.Settings {
		if strings.HasPrefix(s.Key, "vcs.") {
			parts = append(parts, s.Value)
		}
	}
	for _, m := range info.Deps {
		if m.Path == "github.com/klauspost/compress" {
			parts = append(parts, m.Version, m.Sum)
		}
	}
	return strings.Join(parts, " ")
})

func (k recallKey) add(parts ...string) {
	for _, p := range parts {
		fmt.Fprintf(k.h, "%d:%s", len(p), p)
	}
}

func (r recall) file(k recallKey) string {
	name := hex.EncodeToString(k.h.Sum(nil)[:16])
	return filepath.Join(r.dir, name[:2], name+".json")
}

// get fills in what is known. What cannot be read is not known.
func (r recall) get(k recallKey, into any) bool {
	if r.dir == "" {
		return false
	}
	content, err := os.ReadFile(r.file(k))
	return err == nil && json.Unmarshal(content, into) == nil
}

// put remembers. A cache that cannot be written costs time, and nothing else.
func (r recall) put(k recallKey, value any) {
	if r.dir == "" {
		return
	}
	file := r.file(k)
	content, err := json.Marshal(value)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(file), 0o755)
	}
	if err == nil {
		err = writeFile(file, content)
	}
	if err != nil {
		slog.Debug("build: not remembered", "error", err)
	}
}

func (r recall) forget(k recallKey) {
	if r.dir != "" {
		_ = os.Remove(r.file(k))
	}
}

// recalledLayer is what is remembered of a layer.
type recalledLayer struct {
	Digest, DiffID v1.Hash
	Size           int64
}

// layerMaker writes layers, one at a time: they read from one Git process.
type layerMaker struct {
	work   string // folder
	recall recall
	mu     sync.Mutex
}

// layer is the layer of files: a remembered one, written only when somebody wants its content, which a
// registry that has it does not; or one that is written now.
func (m *layerMaker) layer(ctx context.Context, files []layerFile) (v1.Layer, error) {
	k := newRecallKey("layer")
	for _, f := range files {
		if f.object == "" {
			return writeLayer(ctx, m.work, files)
		}
		k.add(f.path, fmt.Sprint(f.mode, f.size, f.time.Unix()), f.link, f.object)
	}
	var known recalledLayer
	if m.recall.get(k, &known) && known.Size > 0 {
		l := &lateLayer{fileLayer: fileLayer{digest: known.Digest, diffID: known.DiffID, size: known.Size}}
		l.write = sync.OnceValues(func() (fileLayer, error) {
			m.mu.Lock()
			defer m.mu.Unlock()
			written, err := writeLayer(ctx, m.work, files)
			if err == nil && (written.digest != known.Digest || written.diffID != known.DiffID) {
				m.recall.forget(k)
				err = errors.New("a layer came out differently than the cache says, which now forgets it; build again")
			}
			return written, err
		})
		return l, nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	written, err := writeLayer(ctx, m.work, files)
	if err == nil {
		m.recall.put(k, recalledLayer{written.digest, written.diffID, written.size})
	}
	return written, err
}

// lateLayer is a layer whose digests are known and whose content is written when it is asked for.
type lateLayer struct {
	fileLayer
	write func() (fileLayer, error)
}

func (l *lateLayer) Compressed() (io.ReadCloser, error) {
	written, err := l.write()
	if err != nil {
		return nil, err
	}
	return written.Compressed()
}

func (l *lateLayer) Uncompressed() (io.ReadCloser, error) {
	written, err := l.write()
	if err != nil {
		return nil, err
	}
	return written.Uncompressed()
}

// examined returns a module's checksum after a look at its contents, both only where it has changed.
func (r recall) examined(m sourceModule, examine func() (string, error)) (string, error) {
	k := newRecallKey("module")
	for _, e := range m.entries {
		if e.object == "" {
			return examine()
		}
		k.add(e.path, e.mode, e.object)
	}
	var sum string
	if r.get(k, &sum) && sum != "" {
		return sum, nil
	}
	sum, err := examine()
	if err == nil {
		r.put(k, sum)
	}
	return sum, err
}
