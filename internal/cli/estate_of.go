package cli

import (
	"context"
	"fmt"

	"github.com/waybill-dev/waybill/internal/estate"
)

// estateOf reads the estate of a folder, or that of the server that runs on the data folder.
func (a *app) estateOf(ctx context.Context, dir string) (*estate.Estate, error) {
	if dir == "" {
		status, err := a.knownServer(ctx)
		if err != nil {
			return nil, err
		}
		if dir = status.Estate; dir == "" {
			return nil, usagef("no server is up on %s; name the folder with the estate: --estate FOLDER", a.data)
		}
	}
	declared, err := estate.Load(ctx, dir)
	if err != nil {
		return nil, usage{fmt.Errorf("read the estate in %s: %w", dir, err)}
	}
	return declared, nil
}
