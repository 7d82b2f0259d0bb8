package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

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
		if err := isHere(dir); err != nil {
			return nil, err
		}
	}
	declared, err := estate.Load(ctx, dir)
	if err != nil {
		return nil, usage{fmt.Errorf("read the estate in %s: %w", dir, err)}
	}
	return declared, nil
}

// isHere refuses a folder that a server reads its estate from, and that is not on this machine.
func isHere(dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return usagef("the server reads its estate in %s, which is not on this machine; name a folder with the same: --estate FOLDER", dir)
	}
	return nil
}
