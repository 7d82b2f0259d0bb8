package server

import (
	"context"
	"errors"
	"time"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/runtime"
	"github.com/waybill-dev/waybill/internal/runtime/kube"
	"github.com/waybill-dev/waybill/internal/store"
)

const (
	// scaleEvery is how often it is looked how many pods there shall be: floors begin with a minute.
	scaleEvery = time.Minute
	// scaleAgain is how often that is applied although it is the same: another server may know an older estate.
	scaleAgain = 10 * time.Minute
)

// scaler is a runtime that can have several pods for a process.
type scaler interface {
	ScalePool(ctx context.Context, environment, pool string, web runtime.Scale) error
}

var _ scaler = (*kube.Runtime)(nil)

// watchScale gives each pool as many pods as the estate says for just now, until ctx is done; right after a start too, whatever held before.
func (s *server) watchScale(ctx context.Context, converged <-chan struct{}) error {
	to, ok := s.runtime.(scaler)
	if !ok {
		return nil
	}
	select {
	case <-converged:
	case <-ctx.Done():
		return nil
	}
	scaling := newScaling(to)
	for ctx.Err() == nil {
		if declared, err := s.declared(ctx); err == nil {
			for _, env := range declared.Environments {
				if err := s.scale(ctx, scaling, env); err != nil && ctx.Err() == nil {
					s.log.WarnContext(ctx, "give pools as many pods as the estate says", "environment", env.Name, "error", err)
				}
			}
		}
		next := time.NewTimer(untilNext(time.Now()))
		select {
		case <-ctx.Done():
			next.Stop()
		case <-next.C:
		}
	}
	return nil
}

// untilNext is how long it is until the next minute begins.
func untilNext(now time.Time) time.Duration {
	return now.Truncate(scaleEvery).Add(scaleEvery).Sub(now)
}

func (s *server) scale(ctx context.Context, to *scaling, env estate.Environment) error {
	_, _, pools, err := s.store.Snapshot(ctx, env.Name)
	if err != nil {
		return err
	}
	now := time.Now()
	changed, err := to.apply(ctx, env, pools, now)
	if len(changed) > 0 && env.Scale != nil {
		pods, _ := env.PodsAt(now)
		s.log.InfoContext(ctx, "pools scaled", "environment", env.Name, "pools", changed, "min", pods.Min, "max", pods.Max, "floor", pods.Floor)
	}
	return err
}

// scaling is what was applied of how many pods there shall be.
type scaling struct {
	to   scaler
	told map[[2]string]told // by environment and pool
}

type told struct {
	scale runtime.Scale
	at    time.Time
}

func newScaling(to scaler) *scaling { return &scaling{to: to, told: map[[2]string]told{}} }

// apply gives an environment's pools as many pods as they shall have at a moment, and names those for which that is something else than before.
func (s *scaling) apply(ctx context.Context, env estate.Environment, pools []store.Pool, now time.Time) (changed []string, err error) {
	want, err := scaleAt(env, now)
	if err != nil {
		return nil, err
	}
	for key := range s.told {
		if key[0] == env.Name && !has(pools, key[1]) {
			delete(s.told, key)
		}
	}
	var errs []error
	for _, p := range pools {
		key := [2]string{env.Name, p.Name}
		before, known := s.told[key]
		if known && before.scale == want && now.Sub(before.at) < scaleAgain {
			continue
		}
		switch err := s.to.ScalePool(ctx, env.Name, p.Name, want); {
		case errors.Is(err, runtime.ErrNotFound): // it is started with what holds then
			delete(s.told, key)
		case err != nil:
			errs = append(errs, err)
		default:
			s.told[key] = told{want, now}
			if !known || before.scale != want {
				changed = append(changed, p.Name)
			}
		}
	}
	return changed, errors.Join(errs...)
}

func has(pools []store.Pool, name string) bool {
	for _, p := range pools {
		if p.Name == name {
			return true
		}
	}
	return false
}

func scaleAt(env estate.Environment, at time.Time) (runtime.Scale, error) {
	pods, err := env.PodsAt(at)
	return runtime.Scale{Min: pods.Min, Max: pods.Max, CPU: pods.CPU}, err
}

// scaleNow is what a pool is started with. Floors that cannot be read are told by watchScale.
func (s *server) scaleNow(env estate.Environment) runtime.Scale {
	scale, err := scaleAt(env, time.Now())
	if err != nil {
		s.log.Warn("how many pods there shall be", "environment", env.Name, "error", err)
	}
	return scale
}

// mostPods is how many pods one pool of an environment may have for requests.
func (s *server) mostPods(env estate.Environment) int {
	if _, several := s.runtime.(scaler); !several {
		return 1
	}
	return env.Scale.Most()
}
