package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/database"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/filestore"
	"github.com/waybill-dev/waybill/internal/notify"
	"github.com/waybill-dev/waybill/internal/promotion"
	"github.com/waybill-dev/waybill/internal/store"
)

const (
	// limitsEvery is how often limits are put in force: a database that was made, restored or swapped in since has them then.
	limitsEvery = time.Minute
	// storageEvery is how often storage is measured: a filestore is walked for it.
	storageEvery = 30 * time.Minute

	nearly = .8  // of a limit: people are told
	relief = .05 // below a mark before it counts as left, so that nobody is told again and again
)

// watchLimits puts the limits of tenants in force and measures what they take, until ctx is done. Nothing is ever stopped for
// storage: a till goes on.
func (s *server) watchLimits(ctx context.Context) error {
	tick := time.NewTicker(limitsEvery)
	defer tick.Stop()
	measured := map[string]time.Time{} // by environment and tenant
	for {
		if declared, err := s.declared(ctx); err == nil {
			for _, env := range declared.Environments {
				if err := s.limit(ctx, env, declared.TenantsOf(env.Name), measured); err != nil && ctx.Err() == nil {
					s.log.Warn("put the limits of tenants in force", "environment", env.Name, "error", err)
				}
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// limit does so for one environment. That one tenant's cannot be keeps no other from having theirs.
func (s *server) limit(ctx context.Context, env estate.Environment, tenants []estate.Tenant, measured map[string]time.Time) error {
	known, err := s.store.Tenants(ctx, env.Name)
	if err != nil || len(known) == 0 {
		return err
	}
	place, err := s.place(ctx, env)
	if err != nil {
		return err
	}
	var errs []error
	for _, t := range known {
		i := slices.IndexFunc(tenants, func(d estate.Tenant) bool { return d.Name == t.Name })
		if i < 0 || t.Live.Updating { // not while its database is changed or swapped
			continue
		}
		limits := env.LimitsOf(tenants[i])
		changed, err := place.Databases.LimitConnections(ctx, t.Database, limits.Connections)
		if errors.Is(err, database.ErrNotFound) { // not made yet, or in the middle of a swap
			continue
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if changed {
			s.log.Info("the limit of connections is in force", "environment", env.Name, "tenant", t.Name, "connections", limits.Connections)
		}
		key := env.Name + "/" + t.Name
		if time.Since(measured[key]) < storageEvery {
			continue
		}
		if err := s.measure(ctx, place, t, limits); err != nil {
			errs = append(errs, err)
			continue
		}
		measured[key] = time.Now()
	}
	return errors.Join(errs...)
}

// measure writes down what a tenant takes, and tells people when it comes near its limit, or beyond.
func (s *server) measure(ctx context.Context, place promotion.Place, t store.Tenant, limits estate.Limits) error {
	if limits.StorageGiB == 0 {
		return s.store.ForgetUsage(ctx, t.Environment, t.Name)
	}
	size, err := place.Databases.Size(ctx, t.Database)
	if err != nil {
		return err
	}
	files, err := filestore.Size(ctx, place.Filestore(t.Environment, t.Group, t.Database))
	if err != nil {
		return fmt.Errorf("measure the files of %s/%s: %w", t.Environment, t.Name, err)
	}
	return s.noteUsage(ctx, store.TenantUsage{Environment: t.Environment, Tenant: t.Name, DatabaseBytes: size, FilesBytes: files, LimitBytes: int64(limits.StorageGiB * (1 << 30))})
}

func (s *server) noteUsage(ctx context.Context, u store.TenantUsage) error {
	return s.store.In(ctx, func(tx pgx.Tx) error {
		last, err := s.store.Usage(ctx, u.Environment)
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(last, func(l store.TenantUsage) bool { return l.Tenant == u.Tenant }); i >= 0 {
			u.Level = last[i].Level
		}
		u.Level = levelOf(u.Share(), u.Level)
		before, now, err := s.store.PutUsage(ctx, tx, u)
		if err != nil || now.Level <= before {
			return err
		}
		says := "takes nearly as much storage as it may"
		if now.Level == 2 {
			says = "takes more storage than it may"
		}
		notice, err := notify.Message{Key: fmt.Sprintf("limit/storage/%s/%s/%d/%d", u.Environment, u.Tenant, now.Level, now.Since.UnixMicro()), Event: estate.EventLimit,
			Environment: u.Environment, Tenant: u.Tenant, Title: fmt.Sprintf("%s/%s: %s", u.Environment, u.Tenant, says),
			Text:   fmt.Sprintf("%.1f of %.1f GiB (%.0f %%): %.1f the database, %.1f its files.", gib(u.DatabaseBytes+u.FilesBytes), gib(u.LimitBytes), 100*u.Share(), gib(u.DatabaseBytes), gib(u.FilesBytes)),
			Needed: "somebody makes room or gives it more (limits.storage_gib); it goes on working meanwhile", At: time.Now()}.Notice()
		if err != nil {
			return err
		}
		return s.store.Announce(ctx, tx, notice)
	})
}

func gib(bytes int64) float64 { return float64(bytes) / (1 << 30) }

// levelOf is the level of a share of a limit, which was at another before: it is left some way below where it is reached.
func levelOf(share float64, before int) int {
	marks := []float64{nearly, 1}
	level := 0
	for i, mark := range marks {
		if share >= mark || before > i && share >= mark-relief {
			level = i + 1
		}
	}
	return level
}
