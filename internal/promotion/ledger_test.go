package promotion

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/store"
)

// told are the events of a promotion, in order, as "kind step outcome".
func (b *bench) told(promotion string) []string {
	b.t.Helper()
	rows, err := b.store.Pool.Query(b.t.Context(), "select kind, payload::jsonb->>'step', payload::jsonb->>'outcome' from ledger_outbox where promotion = $1 order by id", promotion)
	require.NoError(b.t, err)
	var list []string
	for rows.Next() {
		var kind string
		var step, outcome *string
		require.NoError(b.t, rows.Scan(&kind, &step, &outcome))
		for _, more := range []*string{step, outcome} {
			if more != nil {
				kind += " " + *more
			}
		}
		list = append(list, kind)
	}
	require.NoError(b.t, rows.Err())
	return list
}

// Everything that a promotion decides and does is in the ledger, in the order in which it happened.
func TestLedgerOfAPromotion(t *testing.T) {
	tries := 0
	flaky := Step{Name: "two", Do: func(context.Context, *Work) (string, error) {
		if tries++; tries == 1 {
			return "", &Wait{Reason: "no weather report"}
		}
		return "", failed("the password is %s", "not told here")
	}}
	never := Step{Name: "never", When: func(*Work) (bool, string) { return false, "not for this one" }}
	b := setup(t, step("one"), never, flaky)
	e, _ := b.engine("a")
	id := b.start(e)
	b.until(id, ended)
	require.Equal(t, []string{
		ledger.PromotionAsked, "rollout.step one done", "rollout.step two waits", "rollout.step two failed",
		"rollout.step two done", "rollout.step one done", "rollout.ended rolled_back", "promotion.ended rolled_back",
	}, b.told(id))
	var undone int
	var skipped, actor string
	require.NoError(t, b.store.Pool.QueryRow(t.Context(), "select count(*) filter (where payload::jsonb->>'undo' = 'true'), max(payload::jsonb->'skipped'->0->>'name'), max(actor) filter (where kind = 'promotion.asked') from ledger_outbox where promotion = $1", id).
		Scan(&undone, &skipped, &actor))
	require.Equal(t, 2, undone)
	require.Equal(t, "never", skipped)
	require.Equal(t, "somebody", actor)
}

func TestLedgerOfARefusal(t *testing.T) {
	b := setup(t, Step{Name: "admit", Do: func(_ context.Context, w *Work) (string, error) {
		w.memory.NotAdmitted = true
		return "", failed("it is in quarantine")
	}})
	e, _ := b.engine("a")
	id := b.start(e)
	b.until(id, ended)
	require.Contains(t, b.told(id), "admission.refused admit failed")
}

// A promotion ends when its rollouts do, also when all of them end in the same instant.
func TestRolloutsThatEndAtOnce(t *testing.T) {
	long.Test(t)
	const tenants, rounds = 6, 5
	var together sync.WaitGroup
	b := setup(t, Step{Name: "together", Do: func(context.Context, *Work) (string, error) {
		together.Done()
		together.Wait()
		return "", nil
	}})
	e, _ := b.engine("a")
	declared, q := b.request()
	declared.Tenants = nil
	for i := range tenants {
		name := string(rune('a' + i))
		declared.Tenants = append(declared.Tenants, estate.Tenant{Name: name, Environment: b.kind, Database: b.kind + name, Hosts: []string{name + ".example"}})
	}
	for range rounds {
		together.Add(tenants)
		id, err := e.Start(t.Context(), declared, q)
		require.NoError(t, err)
		for {
			rollouts, err := b.store.Rollouts(t.Context(), id)
			require.NoError(t, err)
			if !slices.ContainsFunc(rollouts, func(r store.Rollout) bool { return r.State != store.Done }) {
				break
			}
			require.NoError(t, sleep(t.Context(), lookEvery/30))
		}
		p, err := b.store.Promotion(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, store.Promoted, p.Outcome)
		require.NotNil(t, p.FinishedAt)
		told := b.told(id)
		require.Equal(t, "promotion.ended promoted", told[len(told)-1])
		require.Equal(t, 1, strings.Count(strings.Join(told, "\n"), ledger.PromotionEnded), "told once")
	}
}
