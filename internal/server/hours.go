package server

import (
	"context"
	"time"

	"github.com/waybill-dev/waybill/internal/promotion"
)

const hoursEvery = time.Minute

// countHours keeps what the business does hour by hour, for as long as this is the one server that
// does, until ctx is done.
func (s *server) countHours(ctx context.Context, engine *promotion.Engine) error {
	tick := time.NewTicker(hoursEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		release, ok, err := s.store.CountHours(ctx)
		if err != nil || !ok {
			continue
		}
		s.countWhile(ctx, engine, tick.C)
		release()
	}
}

// countWhile counts on every tick until ctx is done or the database does not take it.
func (s *server) countWhile(ctx context.Context, engine *promotion.Engine, tick <-chan time.Time) {
	hours := engine.NewHours()
	defer hours.Close()
	for {
		declared, err := s.declared(ctx)
		if err == nil {
			for _, env := range declared.Environments {
				place, err := s.place(ctx, env)
				if err != nil {
					continue // told elsewhere
				}
				if err := hours.Count(ctx, place, env.Name); err != nil {
					s.log.Warn("count the hours of the business", "environment", env.Name, "error", err)
					return
				}
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick:
		}
	}
}
