package kube

import (
	"context"
	"slices"
	"sync"

	"github.com/waybill-dev/waybill/internal/drift"
)

// memory is a Keeper that lives as long as a test.
type memory struct {
	mu   sync.Mutex
	kept map[string]map[drift.Object]Declared
}

func (m *memory) Keep(_ context.Context, scope string, d Declared) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.kept == nil {
		m.kept = map[string]map[drift.Object]Declared{}
	}
	if m.kept[scope] == nil {
		m.kept[scope] = map[drift.Object]Declared{}
	}
	m.kept[scope][d.Object] = d
	return nil
}

func (m *memory) Kept(_ context.Context, scope string) (all []Declared, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range m.kept[scope] {
		all = append(all, d)
	}
	return all, nil
}

func (m *memory) KeptOne(_ context.Context, scope string, o drift.Object) (Declared, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, found := m.kept[scope][o]
	return d, found, nil
}

func (m *memory) Drop(_ context.Context, scope string, o drift.Object) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.kept[scope], o)
	return nil
}

func (m *memory) DropNamespace(_ context.Context, scope, namespace string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for o := range m.kept[scope] {
		if o.Namespace == namespace || o.Kind == kindNamespace && o.Name == namespace {
			delete(m.kept[scope], o)
		}
	}
	return nil
}

// noted is an Observer that notes what it is told.
type noted struct {
	mu     sync.Mutex
	news   chan struct{} // closed and made anew with each telling
	open   map[drift.Object]drift.Finding
	told   int
	mended []drift.Object
	healed []string
	heal   bool
}

func newNoted() *noted {
	return &noted{news: make(chan struct{}), open: map[drift.Object]drift.Finding{}}
}

func (n *noted) Open(context.Context, string) ([]drift.Object, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []drift.Object
	for o := range n.open {
		all = append(all, o)
	}
	return all, nil
}

func (n *noted) Found(_ context.Context, _ string, f drift.Finding) (bool, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.told++
	if f.Drifts() {
		n.open[f.Object] = f
	} else {
		delete(n.open, f.Object)
		n.mended = append(n.mended, f.Object)
	}
	close(n.news)
	n.news = make(chan struct{})
	return n.heal && f.Drifts(), nil
}

func (n *noted) Healed(_ context.Context, _ string, f drift.Finding, err error) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	says := f.Object.String()
	if err != nil {
		says += ": " + err.Error()
	}
	n.healed = append(n.healed, says)
	return nil
}

// until waits until what is open is as asked, and returns that; ok is false where it is not in time.
func (n *noted) until(ctx context.Context, is func(map[drift.Object]drift.Finding) bool) (open map[drift.Object]drift.Finding, ok bool) {
	for {
		n.mu.Lock()
		open = map[drift.Object]drift.Finding{}
		for o, f := range n.open {
			f.Changes = slices.Clone(f.Changes)
			open[o] = f
		}
		news := n.news
		n.mu.Unlock()
		if is(open) {
			return open, true
		}
		select {
		case <-news:
		case <-ctx.Done():
			return open, false
		}
	}
}
