package api

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/approval"
	"github.com/waybill-dev/waybill/internal/checkpoint"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/identity"
	"github.com/waybill-dev/waybill/internal/impact"
	"github.com/waybill-dev/waybill/internal/keys"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/internal/openid"
	"github.com/waybill-dev/waybill/internal/postgres"
	"github.com/waybill-dev/waybill/internal/postgres/postgrestest"
	"github.com/waybill-dev/waybill/internal/promotion"
	"github.com/waybill-dev/waybill/internal/rehearsal"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/runbook"
	"github.com/waybill-dev/waybill/internal/runtime"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/store/storetest"
)

var cluster = postgrestest.Shared(postgres.Options{})

// bench is the API as a server has it, on a real store; nothing carries its promotions.
type bench struct {
	t       testing.TB
	url     string
	state   *store.Store
	tokens  *identity.Tokens
	backend Backend
	openID  *openid.Provider

	mu      sync.Mutex
	access  estate.Access
	entries []identity.Entry
	now     time.Time
	broken  error // of the estate

	emergency *estate.Emergency // of production
	calendars []estate.Calendar
}

func (b *bench) breakEstate() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.broken = &estate.Problem{File: "estate.yaml", Line: 1, Message: "is broken"}
}

// Record keeps what was recorded.
func (b *bench) Record(_ context.Context, e identity.Entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.entries = append(b.entries, e)
}

// recorded returns what was recorded of a kind since the last time, and forgets it.
func (b *bench) recorded(kind string) []identity.Entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	var found []identity.Entry
	for _, e := range b.entries {
		if e.Kind == kind {
			found = append(found, e)
		}
	}
	b.entries = nil
	return found
}

func (b *bench) declare(users ...estate.User) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.access.Users = users
}

func (b *bench) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (b *bench) later(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

// empty is a runtime where nothing runs.
type empty struct{ runtime.Runtime }

func (empty) Pools(context.Context, string) ([]runtime.PoolState, error) { return nil, nil }

func setup(t testing.TB) *bench {
	t.Helper()
	b := &bench{t: t, state: storetest.Shared(t, cluster(t)), now: time.Now()}
	_, err := b.state.Pool.Exec(t.Context(), "truncate sessions, passwords") // whether anybody has one is asked
	require.NoError(t, err)
	_, err = b.state.Pool.Exec(t.Context(), "update rollouts set state = 'done', outcome = 'promoted', finished_at = now() where state <> 'done'") // that other tests have left
	require.NoError(t, err)
	declared := func(context.Context) (*estate.Estate, error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		return &estate.Estate{Root: "estate", Environments: []estate.Environment{{Name: "test"}, {Name: "production", Emergency: b.emergency}}, Access: b.access, Calendars: b.calendars,
			Tenants: []estate.Tenant{{Name: "acme", Environment: "production", Database: "acme_production", Hosts: []string{"acme.example"}}, {Name: "acme", Environment: "test", Database: "acme_test", Hosts: []string{"test.acme.example"}}}}, b.broken
	}
	access := func(ctx context.Context) (*estate.Access, error) {
		e, err := declared(ctx)
		return &e.Access, err
	}
	quiet := slog.New(slog.DiscardHandler)
	secrets, err := keys.Open(t.TempDir())
	require.NoError(t, err)
	engine, err := promotion.New(promotion.Rooms{Store: b.state, Keys: secrets, Present: func(context.Context, release.Release) error { return errors.New("no such image") },
		Trusted: func(context.Context, release.Release, promotion.Snapshot) error { return nil }, Place: func(context.Context, estate.Environment) (promotion.Place, error) {
			return promotion.Place{Runtime: empty{}}, nil
		}}, "nobody", quiet, nil)
	require.NoError(t, err)
	bucket, err := checkpoint.Open(t.Context(), "file://"+t.TempDir(), nil, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, bucket.Close()) })
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	b.openID = &openid.Provider{Key: make([]byte, 32), Now: b.clock}
	b.tokens = &identity.Tokens{Store: b.state, Access: access, Now: b.clock}
	b.backend = Backend{
		Store: b.state, Engine: engine, Checkpoints: bucket, Estate: declared, Token: "the-owner's", Owner: "root", Version: "test",
		Tokens: b.tokens, Sessions: &identity.Sessions{Store: b.state, Tokens: b.tokens, Access: access, Owner: "root", Token: "the-owner's", Now: b.clock},
		Passwords: &identity.Passwords{Store: b.state, Access: access, Now: b.clock}, OpenID: b.openID, Recorder: b, Approvals: &approval.Room{Store: b.state, Engine: engine, Access: access, Recorder: b, Now: b.clock},
		Rehearsals: rehearsal.NewQueue("here", rehearsal.New(t.TempDir(), rehearsal.Rooms{}), b.state, declared, nil, rehearsal.Limits{}),
		ReadRelease: func(context.Context, string) (release.Release, error) {
			return release.Release{}, errors.New("no such image")
		},
		Doctor: func(context.Context) []Finding { return []Finding{} },
		Runbook: func(context.Context, string, string) (runbook.Book, error) {
			return runbook.Book{Title: "Runbook"}, nil
		},
		Ledger: ledger.New(b.state.Pool, ledger.Options{Log: quiet, Signer: func(context.Context) (crypto.Signer, error) { return signer, nil }}),
		Evidence: func(context.Context, release.Release) (ReleaseEvidence, error) {
			return ReleaseEvidence{Unknown: "no registry is asked", Refusals: []ReleaseRefusal{}, Attestations: []ReleaseAttestation{}}, nil
		},
		SBOM:           func(context.Context, release.Release) ([]byte, error) { return []byte("{}"), nil },
		Waybill:        func(context.Context, string) ([]byte, error) { return nil, store.ErrNotFound },
		Rescan:         func(context.Context) error { return nil },
		VerifyLedger:   func(context.Context) (ledger.Report, error) { return ledger.Report{OK: true}, nil },
		Neighbours:     func(string) (Neighbours, bool) { return Neighbours{}, false },
		CheckIsolation: func(context.Context, string, string) (int64, error) { return 1, nil },
		SignImpact:     func(ctx context.Context, a *impact.Assessment) ([]byte, error) { return impact.Seal(ctx, a, signer) },
	}
	b.backend.Events = NewEvents(b.state, nil)
	t.Cleanup(b.backend.Events.Close)
	server := httptest.NewServer(Handler(b.backend))
	t.Cleanup(server.Close)
	b.url = server.URL
	before := undecided
	undecided = func(route string) { t.Errorf("%s was answered without deciding whether who asks may have it", route) }
	t.Cleanup(func() { undecided = before })
	return b
}

// answer is what the API said.
type answer struct {
	status int
	header http.Header
	text   string
}

func (a answer) into(t testing.TB, v any) {
	t.Helper()
	require.Less(t, a.status, 300, a.text)
	require.NoError(t, json.Unmarshal([]byte(a.text), v), a.text)
}

func (b *bench) ask(token, method, path string, in any) answer {
	b.t.Helper()
	var body io.Reader
	if in != nil {
		content, err := json.Marshal(in)
		require.NoError(b.t, err)
		body = bytes.NewReader(content)
	}
	request, err := http.NewRequestWithContext(b.t.Context(), method, b.url+path, body)
	require.NoError(b.t, err)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	require.NoError(b.t, err)
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	require.NoError(b.t, err)
	return answer{response.StatusCode, response.Header, string(content)}
}

// token makes one for a user, as the owner of the data folder does.
func (b *bench) token(user string) string {
	b.t.Helper()
	var made Token
	b.ask("the-owner's", "POST", "/api/v1/tokens", map[string]any{"user": user}).into(b.t, &made)
	require.True(b.t, strings.HasPrefix(made.Text, "wbt_"))
	return made.Text
}

func user(name string, role estate.Role, environments ...string) estate.User {
	return estate.User{Name: name, Roles: []estate.Grant{{Role: role, Environments: environments}}}
}
