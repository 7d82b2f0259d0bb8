package promotion

import (
	"context"

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
