package waybill

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/promotion"
	"github.com/waybill-dev/waybill/internal/store"
)

// reverse says how the promotion can be taken back now.
func (s Sources) reverse(ctx context.Context, p store.Promotion, rollouts []store.Rollout, memories []promotion.Memory) (Reverse, error) {
	back := "waybill rollback " + p.ID
	switch {
	case p.FinishedAt == nil && p.Kind == promotion.KindPurge:
		return Reverse{Way: "none", Says: "It is under way; what has gone does not come back, but from a checkpoint."}, nil
	case p.FinishedAt == nil:
		return Reverse{Way: "undo", Command: back, Says: "It is under way: what it has done so far is undone, step by step."}, nil
	case p.Outcome == store.RolledBack:
		return Reverse{Way: "none", Says: "It was taken back; nothing is there to reverse."}, nil
	case p.Kind == promotion.KindCheckpoint:
		return Reverse{Way: "none", Says: "It took a checkpoint and changed nothing."}, nil
	case p.Kind == promotion.KindBeside:
		return Reverse{Way: "none", Says: "It made something beside the tenant, which was not touched. To take that away: waybill restore drop."}, nil
	case p.Kind == promotion.KindDropBeside:
		return Reverse{Way: "none", Says: "It took away what stood beside the tenant; the checkpoint is still there."}, nil
	case p.Kind == promotion.KindRotate:
		return Reverse{Way: "none", Says: "The login that was is gone for good. Another one: waybill secrets rotate --env " + p.Environment + " database."}, nil
	case p.Kind == promotion.KindCreate:
		return Reverse{Way: "none", Says: "It made a database; Waybill does not remove a tenant's database."}, nil
	case p.Kind == promotion.KindSuspend:
		return Reverse{Way: "none", Says: "Open it again: waybill tenant resume " + p.Environment + "/TENANT."}, nil
	case p.Kind == promotion.KindResume:
		return Reverse{Way: "none", Says: "Suspend it again: waybill tenant suspend " + p.Environment + "/TENANT."}, nil
	case p.Kind == promotion.KindRename:
		return Reverse{Way: "none", Says: "Name it as before: waybill tenant rename " + p.Environment + "/TENANT --host HOST."}, nil
	case p.Kind == promotion.KindMove:
		return Reverse{Way: "none", Says: "Move it back: waybill tenant move " + p.Environment + "/TENANT --to HOSTING."}, nil
	case p.Kind == promotion.KindDelete && len(rollouts) > 0:
		return s.reverseDelete(ctx, p, rollouts[0], memories[0])
	case p.Kind == promotion.KindUndelete:
		return Reverse{Way: "none", Says: "Delete it again: waybill tenant delete " + p.Environment + "/TENANT."}, nil
	case p.Kind == promotion.KindPurge && len(rollouts) > 0:
		return Reverse{Way: "none", Says: "The data is gone; checkpoints of it are there: " + anew(p.Environment, rollouts[0].Tenant)}, nil
	case p.Kind == promotion.KindRollback:
		return Reverse{Way: "route", Command: fmt.Sprintf("waybill promote RELEASE %s", p.Environment), Says: "Promote the release again that it took back, or a better one."}, nil
	}
	var gone []string
	if p.Kind == promotion.KindConfiguration {
		return s.reverseConfiguration(ctx, back, rollouts, memories)
	}
	for _, r := range rollouts {
		tenant, err := s.Store.Tenant(ctx, r.Environment, r.Tenant)
		if errors.Is(err, store.ErrNotFound) || err == nil && r.Outcome == store.Promoted && tenant.ServingRelease != memories[0].Release {
			gone = append(gone, r.Tenant)
			continue
		} else if err != nil {
			return Reverse{}, err
		}
	}
	if len(rollouts) == 0 || len(gone) == len(rollouts) {
		return Reverse{Way: "none", Says: "Another release serves by now; take that one's promotion back."}, nil
	}
	memory := memories[0]
	var r Reverse
	switch {
	case p.Kind == promotion.KindRestore:
		r = Reverse{Way: "restore", Command: fmt.Sprintf("waybill restore %s/%s %s", p.Environment, rollouts[0].Tenant, memory.FenceCheckpoint),
			Says: "Restore the checkpoint that was taken just before; what was written since then is lost."}
	case memory.OldRelease == "":
		return Reverse{Way: "none", Says: "Nothing served before it, so there is nothing to go back to."}, nil
	case estate.Class(p.Class).Breaks():
		r = Reverse{Way: "restore", Command: back + " --accept-loss", Says: fmt.Sprintf("The release before cannot work on this schema: checkpoint %s is restored, and what was written since %s is lost.",
			memory.FenceCheckpoint, memory.ReleasedAt.UTC().Format(time.RFC3339))}
	default:
		name := memory.OldRelease
		if old, err := s.Store.Release(ctx, memory.OldRelease); err == nil {
			name = old.Name
		}
		r = Reverse{Way: "route", Command: back, Says: "The route goes back to " + name + ", which works on the schema as it is; nothing is lost."}
	}
	if len(gone) > 0 {
		r.Says += " Another release serves " + strings.Join(gone, ", ") + " by now."
	}
	return r, nil
}

// reverseConfiguration says how a configuration is taken back now.
func (s Sources) reverseConfiguration(ctx context.Context, back string, rollouts []store.Rollout, memories []promotion.Memory) (Reverse, error) {
	for i, r := range rollouts {
		tenant, err := s.Store.Tenant(ctx, r.Environment, r.Tenant)
		if err == nil && tenant.Live.Stable == memories[i].NewPool {
			return Reverse{Way: "route", Command: back, Says: "A pool of the same release is started with the configuration before, and the route goes there; nothing is lost."}, nil
		} else if err != nil && !errors.Is(err, store.ErrNotFound) {
			return Reverse{}, err
		}
	}
	return Reverse{Way: "none", Says: "Another pool serves by now; take that one's promotion back."}, nil
}

// reverseDelete says how a tenant that was deleted comes back now.
func (s Sources) reverseDelete(ctx context.Context, p store.Promotion, r store.Rollout, m promotion.Memory) (Reverse, error) {
	tenant, err := s.Store.Tenant(ctx, r.Environment, r.Tenant)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return Reverse{Way: "none", Says: "It was purged since; the last checkpoint is " + m.FenceCheckpoint + ". " + anew(r.Environment, r.Tenant)}, nil
	case err != nil:
		return Reverse{}, err
	case tenant.Live.Leaving == nil || tenant.Live.Leaving.Promotion != p.ID:
		return Reverse{Way: "none", Says: "It was taken back since; nothing is there to reverse."}, nil
	}
	return Reverse{Way: "none", Says: fmt.Sprintf("Until %s its data is there; take it back: waybill tenant undelete %s/%s.", tenant.Live.Leaving.Until.UTC().Format(time.RFC3339), r.Environment, r.Tenant)}, nil
}

// anew says how a tenant is made again of which only checkpoints are left.
func anew(environment, tenant string) string {
	ref := environment + "/" + tenant
	return "put its document back into the estate, then: waybill tenant create " + ref + " --release RELEASE --from " + ref + "/CHECKPOINT; see: waybill checkpoint list " + ref + "."
}
