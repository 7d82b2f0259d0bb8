package server

import (
	"context"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/internal/secret"
)

// readsEvery is how often the same use of a secret is written down: Git is asked each minute, and a step of a promotion
// connects many times. How often it was read since is part of the next entry.
const readsEvery = time.Hour

// secretReads remembers when a use of a secret was last written down, and how often it happened since.
type secretReads struct {
	mu   sync.Mutex
	uses map[secretUse]secretUsed
}

type secretUse struct {
	reference, purpose string
	found              bool
}

type secretUsed struct {
	at    time.Time
	since int
}

// count says whether a use is to be written down now, and how often there was one since the last time.
func (r *secretReads) count(u secretUse, now time.Time) (since int, write bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.uses == nil {
		r.uses = map[secretUse]secretUsed{}
	}
	used, known := r.uses[u]
	if known && now.Sub(used.at) < readsEvery {
		used.since++
		r.uses[u] = used
		return 0, false
	}
	r.uses[u] = secretUsed{at: now}
	return used.since, true
}

// secret reads what a reference of the estate stands for, and writes into the ledger which it was and what it was read for. That
// it cannot be written down keeps nobody from working: the log says so.
func (s *server) secret(ctx context.Context, root, reference, purpose string) (string, error) {
	value, err := secret.Read(ctx, root, reference)
	if since, write := s.reads.count(secretUse{reference, purpose, err == nil}, time.Now()); write {
		payload := map[string]any{"secret": reference, "for": purpose, "found": err == nil}
		if since > 0 {
			payload["more"] = since
		}
		if failed := ledger.Record(ctx, s.store.Pool, ledger.Event{Kind: ledger.SecretRead, Payload: payload}); failed != nil {
			s.log.Warn("write down that a secret was read", "secret", reference, "for", purpose, "error", failed)
		}
	}
	return value, err
}
