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
