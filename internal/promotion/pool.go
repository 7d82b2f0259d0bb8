package promotion

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/internal/runtime"
	"github.com/waybill-dev/waybill/internal/store"
)

// graceOfPool is how long a pool's processes may take to end: above Odoo's limit_time_real of 120 s.
const graceOfPool = 150 * time.Second

// startPool starts the new release's processes. They open no tenant's database before they are
// told to, so this costs the tenant nothing; and an image that cannot start is found before the hold.
func startPool(ctx context.Context, w *Work) (string, error) {
	r, err := w.rooms.Store.Release(ctx, w.memory.Release)
	if err != nil {
		return "", err
	}
	if err := w.place.Runtime.EnsureEnvironment(ctx, w.runtimeEnvironment()); err != nil {
		return "", err
	}
	pool := ConfigurationOf(w.env.Environment).started(store.Pool{Environment: w.rollout.Environment, Name: w.memory.NewPool, Release: r.Digest, Image: w.rooms.Image(r),
		Group: w.group()})
	if w.promotion.Kind == KindRotate { // nothing but its login is another one
		old, err := w.rooms.Store.GetPool(ctx, w.rollout.Environment, w.memory.OldPool)
		if err != nil {
			return "", fmt.Errorf("look up pool %s: %w", w.memory.OldPool, err)
		}
		pool = configurationOf(old).started(pool)
		pool.Image = old.Image
	}
	if err := w.rooms.Store.PutPool(ctx, pool); err != nil {
		return "", err
	}
	started := time.Now()
	bounded, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	if _, err := w.ensurePool(bounded, w.place, pool); err != nil {
		if errors.Is(err, runtime.ErrUnavailable) {
			return "", err
		}
		return "", failed("the pool of %s does not start: %w", r.Name, err)
	}
	return fmt.Sprintf("pool %s answers after %.1f s", pool.Name, time.Since(started).Seconds()), nil
}

func (w *Work) runtimeEnvironment() runtime.Environment {
	return RuntimeEnvironment(w.env)
}

// removeNewPool takes the new pool away, unless another tenant has come to use it.
func removeNewPool(ctx context.Context, w *Work) (string, error) {
	if w.memory.NewPool == "" || w.memory.NewPool == w.memory.OldPool {
		return "nothing was started", nil
	}
	removed, err := w.removePool(ctx, w.place, w.rollout.Environment, w.memory.NewPool)
	if err != nil {
		return "", err
	}
	if !removed {
		return "pool " + w.memory.NewPool + " stays: another tenant uses it", nil
	}
	return "pool " + w.memory.NewPool + " removed", nil
}
