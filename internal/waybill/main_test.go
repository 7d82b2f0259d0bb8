package waybill

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/attest"
	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/checkpoint"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/internal/postgres"
	"github.com/waybill-dev/waybill/internal/postgres/postgrestest"
	"github.com/waybill-dev/waybill/internal/promotion"
	"github.com/waybill-dev/waybill/internal/rehearsal"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/store/storetest"
)

var cluster = postgrestest.Shared(postgres.Options{})

// shop is a store with one promotion that has ended, as the engine leaves it.
type shop struct {
	t       *testing.T
	store   *store.Store
	key     *ecdsa.PrivateKey
	sources Sources
}

var began = time.Date(2026, 11, 20, 21, 0, 0, 0, time.UTC)

const newDigest, oldDigest = "sha256:1f1e2d3c4b5a69788796a5b4c3d2e1f01f1e2d3c4b5a69788796a5b4c3d2e1f0", "sha256:0a0b0c0d0e0f0a0b0c0d0e0f0a0b0c0d0e0f0a0b0c0d0e0f0a0b0c0d0e0f0a0b"

func setup(t *testing.T) *shop {
	t.Helper()
	s := storetest.Shared(t, cluster(t))
	_, err := s.Pool.Exec(t.Context(), "set session_replication_role = replica")
	require.NoError(t, err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	identity, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	bucket, err := checkpoint.Open(t.Context(), "file://"+t.TempDir(), []age.Recipient{identity.Recipient()}, []age.Identity{identity})
	require.NoError(t, err)
	t.Cleanup(func() { _ = bucket.Close() })
	return &shop{t: t, store: s, key: key, sources: Sources{Store: s, Checkpoints: bucket, Version: "test",
		Ledger: ledger.New(s.Pool, ledger.Options{Log: slog.New(slog.DiscardHandler), Signer: func(context.Context) (crypto.Signer, error) { return key, nil }}),
		Attestations: func(context.Context, release.Release, string) (attest.Report, error) {
			return attest.Report{OK: true, Attestations: []attest.Attestation{
				{Type: attest.Provenance, Digest: "sha256:aaaa", OK: true, KeyID: "SHA256:mT0y7PzGbc1Q2m4kDqgJ9x1dR5oW3vYk6s8uA0bCeFg", KeyName: "ci", Builder: "https://ci.example/runner", Commit: "8f14e45fceea167a5a36dedd4bea2543deadbeef"},
				{Type: attest.Vulnerabilities, Digest: "sha256:bbbb", KeyID: "SHA256:zz", Refused: &attest.Refused{Code: attest.UnknownKey, Reason: "it is signed with a key that is not trusted here"}},
			}}, nil
		}}}
}

func (s *shop) keys() []attest.Key { return attest.PublicKeys(&s.key.PublicKey) }

func module(name, version, checksum string, depends ...string) release.Module {
	return release.Module{Name: name, Version: version, Checksum: checksum, Depends: depends}
}

func (s *shop) exec(sql string, args ...any) {
	s.t.Helper()
	_, err := s.store.Pool.Exec(s.t.Context(), sql, args...)
	require.NoError(s.t, err)
}

// promotion writes down one that has ended as promoted, in the middle of another one's entries.
func (s *shop) promotion(id string, class estate.Class) {
	s.t.Helper()
	ctx := s.t.Context()
	base := release.Base{Reference: "registry.example/odoo:19.0", Digest: "sha256:ba5e", Version: "19.0.20261101", Modules: []release.Module{module("base", "19.0.1.3", "b"), module("sale", "19.0.1.2", "s", "base")}}
	for _, r := range []release.Release{
		{Digest: oldDigest, Repository: "acme", Name: "r41", Series: "19.0", Source: "https://git.example/acme", Commit: "1d3c6b2a9f00112233445566778899aabbccddee", Created: began.Add(-240 * time.Hour), Base: base,
			Modules: []release.Module{module("acme_stock", "19.0.1.0", "1", "sale")}},
		{Digest: newDigest, Repository: "acme", Name: "r42", Series: "19.0", Source: "https://git.example/acme", Commit: "8f14e45fceea167a5a36dedd4bea2543deadbeef", Created: began.Add(-20 * time.Hour), Base: base, Waybill: "v1.4.0",
			Modules: []release.Module{module("acme_stock", "19.0.1.1", "2", "sale"), module("acme_carrier", "19.0.1.0", "3", "sale")}},
	} {
		require.NoError(s.t, s.store.PutRelease(ctx, r))
	}
	report := rehearsal.Report{ID: "reh1", Environment: "production", Tenant: "acme", Outcome: rehearsal.Proven, Class: class, Cause: "the old release passes all flows on the changed database",
		Checkpoint: "20261120T200000Z-x", RecoveryPoint: began.Add(-time.Hour), PredictedSeconds: 6.2, RecoverySeconds: 48.7, Restore: rehearsal.Restore{Tables: 412, Rows: 1_204_331},
		WayBack: &rehearsal.WayBack{Works: true, Flows: []bridge.Flow{}}, Effect: &rehearsal.Effect{Schema: []rehearsal.Change{
			{Kind: "column", Name: "stock_picking.carrier_ref", After: "character varying"}, {Kind: "column", Name: "stock_move.priority", Before: "integer", After: "character varying"}}}}
	encoded, err := json.Marshal(report)
	require.NoError(s.t, err)
	s.exec("insert into rehearsals (id, environment, tenant, release, release_name, old_release, requested_by, state, outcome, report) values ('reh1', 'production', 'acme', $1, 'r42', $2, 'ann', 'done', 'proven', $3) on conflict do nothing", newDigest, oldDigest, string(encoded))
	s.exec("insert into tenants (environment, name, database, hosts, pool_group, serving_release, schema_release) values ('production', 'acme', 'acme', '{acme.example}', 'shared', $1, $1) on conflict (environment, name) do update set serving_release = $1", newDigest)
	memory := promotion.Memory{Release: newDigest, OldRelease: oldDigest, NewPool: "r42", OldPool: "r41", FenceCheckpoint: "20261120T210000Z-r-fence", ReleasedAt: began.Add(3 * time.Minute),
		Plan: promotion.Plan{Class: class, ClassReason: "rehearsal reh1: the old release passes all flows", Transactional: true, Update: []string{"acme_stock"}, Install: []string{"acme_carrier"}, Rehearsal: "reh1", PredictedSeconds: 6.2}}
	remembered, err := json.Marshal(memory)
	require.NoError(s.t, err)
	s.exec(`insert into promotions (id, kind, environment, release, release_name, class, requested_by, options, estate, estate_commit, created_at, finished_at, outcome)
		values ($1, 'promote', 'production', $2, 'r42', $3, 'ann', '{}', '{}', 'c0ffee00112233445566778899aabbccddeeff00', $4, $5, 'promoted')`, id, newDigest, string(class), began, began.Add(9*time.Minute))
	s.exec("insert into rollouts (id, promotion_id, environment, tenant, state, memory, outcome, held_seconds, finished_at) values ($1, $2, 'production', 'acme', 'done', $3, 'promoted', 5.4, $4)",
		id+"-r", id, string(remembered), began.Add(9*time.Minute))
	steps := []struct{ name, outcome, detail string }{
		{"admit", "done", "class breaking (nobody has rehearsed or classified it; so taken as breaking); update acme_stock; install acme_carrier"},
		{"rehearse", "done", "class compatible (rehearsal reh1: the old release passes all flows on the changed database); predicted 6.2 s, recovery 48.7 s"},
		{"start pool", "done", "pool r42 runs"}, {"checkpoint", "skipped", "the checkpoint that counts is taken inside the fence"},
		{"hold", "done", "requests are held; 3 in flight ended within 0.4 s"}, {"checkpoint in fence", "done", "20261120T210000Z-r-fence: 812.4 MiB in 3.1 s, 12 files new, read back"},
		{"update", "retried", "connect to database acme: connection refused"}, {"update", "done", "acme_stock, acme_carrier in 1.9 s; flows passed"},
		{"shift", "done", "5 %: 412 requests, none failed; the old release: 1 of 7,801; 50 %: 4,120 requests, none failed; 100 % on r42"}, {"bake", "done", "5m0s watched: 9,001 requests, none failed"},
		{"record", "done", "r42 serves since 21:09:00; people waited 5.4 s, predicted were 6.2 s"},
	}
	for i, step := range steps {
		s.exec("insert into steps (rollout_id, name, undo, outcome, detail, epoch, started_at, finished_at) values ($1, $2, false, $3, $4, 1, $5, $6)", id+"-r", step.name, step.outcome, step.detail,
			began.Add(time.Duration(i)*40*time.Second), began.Add(time.Duration(i)*40*time.Second+1700*time.Millisecond))
	}
	about := func(kind, actor string, payload any) {
		require.NoError(s.t, ledger.Record(ctx, s.store.Pool, ledger.Event{Actor: actor, Kind: kind, Environment: "production", Tenant: "acme", Promotion: id, Release: newDigest, Payload: payload}))
		require.NoError(s.t, ledger.Record(ctx, s.store.Pool, ledger.Event{Kind: ledger.RolloutStep, Promotion: "of-others", Payload: map[string]any{"secret": "hush"}}))
	}
	about(ledger.PromotionAsked, "ann", map[string]any{"kind": "promote", "release_name": "r42"})
	about("approval.given", "bob", map[string]any{"reason": "seen in uat, the carrier's people agree"})
	for _, step := range steps {
		about(ledger.RolloutStep, "", map[string]any{"step": step.name, "outcome": step.outcome, "detail": step.detail})
	}
	about(ledger.PromotionEnded, "", map[string]any{"outcome": "promoted"})
}
