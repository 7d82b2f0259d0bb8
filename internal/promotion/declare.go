package promotion

import (
	"context"
	"errors"
	"fmt"

	"github.com/waybill-dev/waybill/internal/estate"
)

// Declarations is where the estate is written: its folder, or its repository.
type Declarations interface {
	// Try tells what a change would come to, and leaves the estate alone.
	Try(ctx context.Context, c estate.Change) (estate.Changed, error)
	// Declare makes it so. Where the estate says so already nothing happens.
	Declare(ctx context.Context, c estate.Change, s Saying) (commit string, err error)
}

// Saying is what is said of a change where it is written down.
type Saying struct {
	Subject   string
	By        string // who asked for it
	Promotion string
}

// tryChange reads the estate as it will be after a field of a tenant's document was changed.
func (e *Engine) tryChange(ctx context.Context, declared *estate.Estate, c estate.Change) (*estate.Estate, error) {
	if e.rooms.Declarations == nil {
		return nil, badRequest("this server cannot write the estate; write %s into the document of Tenant %s by hand, and ask again", c.Fields(), c.Tenant)
	}
	out, err := e.rooms.Declarations.Try(ctx, c)
	if err != nil {
		return nil, badRequest("the estate cannot say %s of %s/%s; nothing was touched: %w", c.Fields(), c.Environment, c.Tenant, err)
	}
	after := *out.Estate
	after.Root, after.Commit, after.Dirty = declared.Root, declared.Commit, declared.Dirty
	return &after, nil
}

// writeChange makes it so. The subject is given environment, tenant, and what it becomes.
func (w *Work) writeChange(ctx context.Context, c estate.Change, subject string, becomes any) (string, error) {
	commit, err := w.rooms.Declarations.Declare(ctx, c, w.saying(subject, w.rollout.Environment, w.tenant.Name, becomes))
	w.fault("inside:declare")
	if err != nil && (errors.Is(err, estate.ErrUndeclared) || len(estate.Problems(err)) > 0) {
		return "", failed("the estate has changed meanwhile: %w", err)
	} else if err != nil {
		return "", fmt.Errorf("write %s into the estate: %w", c.Fields(), err)
	}
	return declared(commit), nil
}
