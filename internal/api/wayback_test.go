package api

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/promotion"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/store"
)

// What taking a promotion back would do is said before anybody does it, and what is lost is never left out.
func TestWayBackIsSaidBefore(t *testing.T) {
	b := setup(t)
	require.NoError(t, b.state.PutRelease(t.Context(), release.Release{Digest: "sha256:back-old", Name: "old"}))
	released := time.Date(2026, 5, 4, 9, 30, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		class   estate.Class
		outcome string
		state   string
		memory  promotion.Memory
		how     string
		loses   bool
		says    string
	}{
		"by the route":        {estate.Compatible, store.Promoted, store.Done, promotion.Memory{OldRelease: "sha256:back-old"}, backRoute, false, "old works on it"},
		"by a restore":        {estate.Breaking, store.Promoted, store.Done, promotion.Memory{OldRelease: "sha256:back-old", FenceCheckpoint: "c1", ReleasedAt: released}, backRestore, true, "checkpoint c1 is restored"},
		"of the first":        {estate.Swap, store.Promoted, store.Done, promotion.Memory{}, backNone, false, "nothing served"},
		"gone back already":   {estate.Swap, store.RolledBack, store.Done, promotion.Memory{OldRelease: "sha256:back-old"}, backNone, false, "nothing to take back"},
		"before the update":   {estate.Breaking, "", store.Running, promotion.Memory{OldRelease: "sha256:back-old"}, backUndo, false, "has not been updated"},
		"after the update":    {estate.Compatible, "", store.Running, promotion.Memory{OldRelease: "sha256:back-old", Updated: true, Plan: promotion.Plan{Class: estate.Compatible}}, backUndo, false, "by the route, at once"},
		"past the point":      {estate.Breaking, "", store.Waiting, promotion.Memory{OldRelease: "sha256:back-old", Updated: true, NoReturn: true, FenceCheckpoint: "c2", ReleasedAt: released}, backRestore, true, "checkpoint c2 is restored"},
		"while requests wait": {estate.Breaking, "", store.Running, promotion.Memory{OldRelease: "sha256:back-old", Updated: true, Plan: promotion.Plan{Class: estate.Breaking}}, backUndo, false, "restored"},
	} {
		t.Run(name, func(t *testing.T) {
			memory, err := json.Marshal(c.memory)
			require.NoError(t, err)
			id := "back-" + name
			p := store.Promotion{ID: id, Kind: promotion.KindPromote, Environment: "production", Release: "sha256:back-new", ReleaseName: "new", Class: string(c.class), Outcome: c.outcome,
				RequestedBy: "root", Options: json.RawMessage("{}"), Estate: json.RawMessage("{}")}
			require.NoError(t, b.state.In(t.Context(), func(tx pgx.Tx) error { return b.state.CreatePromotion(t.Context(), tx, p, nil) }))
			said, err := b.backend.wayBack(t.Context(), p, []store.Rollout{{ID: "r", PromotionID: id, Tenant: "acme", State: c.state, Memory: memory}})
			require.NoError(t, err)
			require.Equal(t, c.how, said.How, said.Says)
			require.Equal(t, c.loses, said.Loses)
			require.Contains(t, said.Says, c.says)
			require.Equal(t, c.how != backNone, said.Cost != "", "whatever happens has a cost, if only that it has none")
			if c.loses {
				require.Contains(t, said.Cost, "2026-05-04 09:30 UTC is lost")
				require.Equal(t, released, *said.Since)
			}
		})
	}
}
