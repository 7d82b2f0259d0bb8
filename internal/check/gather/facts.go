package gather

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/waybill-dev/waybill/internal/check"
)

// parse fills in what the base's interpreter says of each Python source. What it said before of the
// same bytes is remembered, module by module.
func (b *base) parse(ctx context.Context, in *check.Input) error {
	if b.Unusable != "" {
		in.Unread = append(in.Unread, check.NotChecked{Why: "Python sources were not parsed: " + b.Unusable})
		return nil
	}
	todo := make(chan []*check.Module)
	group, inner := errgroup.WithContext(ctx)
	var mu sync.Mutex
	group.Go(func() error {
		defer close(todo)
		for _, batch := range batches(in.Modules) {
			select {
			case todo <- batch:
			case <-inner.Done():
				return nil
			}
		}
		return nil
	})
	for range max(2, runtime.GOMAXPROCS(0)) {
		group.Go(func() error {
			for batch := range todo {
				unread, err := b.parseModules(inner, batch)
				if err != nil {
					return err
				}
				mu.Lock()
				in.Unread = append(in.Unread, unread...)
				mu.Unlock()
			}
			return nil
		})
	}
	err := group.Wait()
	if err != nil && ctx.Err() == nil {
		// The interpreter ran when the base was indexed: somebody removed a part of the cache, or a
		// security module forbids it to this user.
		in.Unread = append(in.Unread, check.NotChecked{Why: "Python sources were not parsed: " + err.Error()})
		return nil
	}
	return err
}

// batches puts modules together so that a process is worth its start (50 ms).
func batches(modules []*check.Module) [][]*check.Module {
	const most = 1 << 20 // bytes of sources
	var list [][]*check.Module
	size := int64(most)
	for _, m := range modules {
		if size >= most {
			list, size = append(list, nil), 0
		}
		list[len(list)-1] = append(list[len(list)-1], m)
		for _, f := range m.Files {
			if isPython(f) {
				size += f.Size
			}
		}
	}
	return list
}

func isPython(f *check.File) bool { return f.Content != nil && path.Ext(f.Path) == ".py" }

// parseModules parses what is new in some modules.
func (b *base) parseModules(ctx context.Context, modules []*check.Module) ([]check.NotChecked, error) {
	type question struct {
		file *check.File
		key  string
	}
	var open []question
	var sources [][]byte
	remembered := make([]map[string]answer, len(modules))
	keys := make([]map[string]*check.File, len(modules))
	for i, m := range modules {
		remembered[i], keys[i] = b.remembered(m.Name), map[string]*check.File{}
		for _, f := range m.Files {
			if !isPython(f) {
				continue
			}
			sum := sha256.Sum256(f.Content)
			key := hex.EncodeToString(sum[:16])
			if known, ok := remembered[i][key]; ok {
				f.Python = known.python()
				keys[i][key] = f
				continue
			}
			open, sources = append(open, question{f, key}), append(sources, f.Content)
		}
	}
	if len(sources) == 0 {
		return nil, nil
	}
	answers, err := b.ask(ctx, sources)
	if err != nil {
		return nil, err
	}
	var unread []check.NotChecked
	fresh := map[string]answer{}
	for i, a := range answers {
		if a.Unknown != "" {
			// Not remembered: it may have been this machine's fault.
			unread = append(unread, check.NotChecked{File: open[i].file.Path, Why: a.Unknown})
			continue
		}
		open[i].file.Python = a.python()
		fresh[open[i].key] = a
	}
	for i, m := range modules {
		b.remember(m, remembered[i], fresh)
	}
	return unread, nil
}

// maxRemembered answers are kept for a module: those of other branches among them.
const maxRemembered = 20_000

func (b *base) memory(module string) string {
	version := sha256.Sum256([]byte(parser))
	return filepath.Join(b.dir, "parsed-"+hex.EncodeToString(version[:6]), module+".json")
}

// remembered are the answers about a module's sources, by content. An unreadable cache is none.
func (b *base) remembered(module string) map[string]answer {
	content, err := os.ReadFile(b.memory(module))
	if err != nil {
		return nil
	}
	var known map[string]answer
	if json.Unmarshal(content, &known) != nil {
		return nil
	}
	return known
}

// remember keeps the answers about a module's sources. That it cannot is no fault of the sources.
func (b *base) remember(m *check.Module, known, fresh map[string]answer) {
	if strings.ContainsAny(m.Name, "/\x00") || len(m.Name) > 200 {
		return
	}
	all := map[string]answer{}
	if len(known) < maxRemembered {
		for key, a := range known {
			all[key] = a
		}
	}
	added := false
	for _, f := range m.Files {
		if !isPython(f) {
			continue
		}
		sum := sha256.Sum256(f.Content)
		key := hex.EncodeToString(sum[:16])
		if a, ok := fresh[key]; ok {
			all[key], added = a, true
		} else if a, ok := known[key]; ok {
			all[key] = a
		}
	}
	if !added {
		return
	}
	content, err := json.Marshal(all)
	if err != nil {
		return
	}
	file := b.memory(m.Name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return
	}
	_ = writeFile(file, content)
}

// writeFile replaces a file whole.
func writeFile(file string, content []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(file), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if _, err := tmp.Write(content); err != nil {
		tmp.Close()
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), file); err != nil {
		return fmt.Errorf("keeping %s: %w", file, err)
	}
	return nil
}
