package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Destroy ends, at once and without writing anything out, the server that works in a cluster's folder (Options.Dir),
// whoever started it, and removes the folder. A folder that does not exist is removed already.
func Destroy(ctx context.Context, dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	c := &Cluster{opts: Options{Dir: dir}}
	lock, running, err := c.running(ctx)
	if err == nil && running {
		if err := syscall.Kill(lock.PID, syscall.SIGQUIT); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("end the PostgreSQL in %s (process %d): %w", dir, lock.PID, err)
		}
	}
	wait, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var left []int
	err = poll(wait, 50*time.Millisecond, func() (bool, error) {
		left = c.processes()
		if !running { // a postmaster that was killed leaves its children
			for _, pid := range left {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		return len(left) == 0, nil
	})
	if err != nil {
		return fmt.Errorf("processes %v still work in %s: %w", left, dir, err)
	}
	return os.RemoveAll(dir)
}
