package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/checkpoint"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/identity"
	"github.com/waybill-dev/waybill/internal/promotion"
	"github.com/waybill-dev/waybill/internal/runbook"
	"github.com/waybill-dev/waybill/internal/store"
)

// runbook gathers what is so now of one tenant or, with an empty tenant, of an environment. What cannot be found out because
// something is broken is left out or said so: that is when a runbook is needed.
func (s *server) runbook(ctx context.Context, environment, tenant string) (runbook.Book, error) {
	declared, err := s.declared(ctx)
	if err != nil {
		return runbook.Book{}, err
	}
	env, ok := declared.Environment(environment)
	if !ok {
		return runbook.Book{}, fmt.Errorf("%w: the estate has no environment %q", promotion.ErrBadRequest, environment)
	}
	f := runbook.Facts{Now: time.Now(), Installation: s.installation(declared), Environment: s.environmentFacts(ctx, declared, env)}
	known, err := s.store.Tenants(ctx, environment)
	if err != nil {
		return runbook.Book{}, err
	}
	found := false
	for _, t := range declared.TenantsOf(environment) {
		if tenant != "" && t.Name != tenant {
			f.Environment.Tenants = append(f.Environment.Tenants, runbook.Tenant{Name: t.Name})
			continue
		}
		facts, err := s.tenantFacts(ctx, env, t, known, tenant != "")
		if err != nil {
			return runbook.Book{}, err
		}
		f.Environment.Tenants = append(f.Environment.Tenants, facts)
		if tenant != "" {
			f.Tenant, found = facts, true
		}
	}
	switch {
	case tenant == "":
		return runbook.OfEnvironment(f), nil
	case !found:
		return runbook.Book{}, fmt.Errorf("%w: the estate has no tenant %q in environment %s", promotion.ErrBadRequest, tenant, environment)
	}
	return runbook.Of(f), nil
}

func (s *server) installation(declared *estate.Estate) runbook.Installation {
	in := runbook.Installation{Data: s.config.Data, Estate: s.config.Estate, Commit: declared.Commit, Embedded: s.config.DatabaseURL == "" && s.config.Bucket == "" && s.config.Registry == "",
		Bucket: s.bucketURL(), Key: filepath.Join(KeyFolder(s.config.Data), "identity.txt"), RegistryHere: s.config.Registry == "", Version: s.config.Version}
	if declared.Repository != nil {
		in.Remote = redacted(declared.Repository.Remote)
	}
	in.BucketHere, in.Bucket = strings.HasPrefix(in.Bucket, "file://"), redacted(in.Bucket)
	if _, err := os.Stat(offlineKeyFile(s.config.Data)); err == nil {
		in.OfflineKey = offlineKeyFile(s.config.Data)
	}
	return in
}

// redacted takes the password out of a URL; what is none stays.
func redacted(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.User == nil {
		return text
	}
	if _, secret := u.User.Password(); secret {
		u.User = url.User(u.User.Username())
	}
	return u.String()
}

func (s *server) environmentFacts(ctx context.Context, declared *estate.Estate, env estate.Environment) runbook.Environment {
	facts := runbook.Environment{Name: env.Name, File: env.File()}
	if before, ok := declared.Before(env.Name); ok {
		facts.Before = before.Name
	}
	facts.Server = runbook.Server{Embedded: env.Database.URL == "", URL: redacted(env.Database.URL), Password: env.Database.Password}
	if name, ok := strings.CutPrefix(facts.Server.Password, "file:"); ok && !filepath.IsAbs(name) {
		facts.Server.Password = "file:" + filepath.Join(s.config.Estate, name)
	}
	if u, err := url.Parse(env.Database.URL); err == nil && u.Host != "" {
		facts.Server.Address = u.Host
	} else if s.tenants != nil {
		facts.Server.Address = s.tenants.SocketDir()
	}
	for _, u := range declared.Access.Users {
		person, _ := identity.PersonOf(&declared.Access, u.Name)
		var roles []string
		for _, r := range person.Roles(env.Name) {
			if r != estate.RoleViewer && r != estate.RoleAuditor {
				roles = append(roles, string(r))
			}
		}
		if len(roles) > 0 {
			facts.People = append(facts.People, runbook.Person{Name: u.Name, Emails: u.Emails, Roles: roles})
		}
	}
	if n := declared.Notifications; n != nil {
		for _, t := range n.Targets {
			if len(t.Environments) == 0 || slices.Contains(t.Environments, env.Name) {
				facts.Targets = append(facts.Targets, runbook.Target{Name: t.Name, To: t.To, Events: t.Events})
			}
		}
	}
	return facts
}

// tenantFacts are those of one tenant; closely: with what takes longer to find out.
func (s *server) tenantFacts(ctx context.Context, env estate.Environment, t estate.Tenant, known []store.Tenant, closely bool) (runbook.Tenant, error) {
	group := string(estate.Shared)
	if t.Hosting == estate.Dedicated {
		group = t.Name
	}
	facts := runbook.Tenant{Name: t.Name, Hosts: t.Hosts, Database: t.Database, Hosting: group, Ring: env.RingOf(t), Labels: t.Labels}
	if t.Hosting == estate.Dedicated {
		facts.Hosting = string(estate.Dedicated)
	}
	if i := slices.IndexFunc(known, func(k store.Tenant) bool { return k.Name == t.Name }); i >= 0 {
		k := known[i]
		facts.Database, facts.Hosts, group = k.Database, k.Hosts, k.Group
		facts.Serving, facts.Schema = s.releaseFacts(ctx, k.ServingRelease), s.releaseFacts(ctx, k.SchemaRelease)
		if k.Live.Leaving != nil {
			facts.Leaving = k.Live.Leaving.Until
		}
		facts.Pool, facts.Mode = k.Live.Stable, string(k.Live.Mode)
		if facts.Mode == "" {
			facts.Mode = "open"
		}
		for _, other := range known {
			if other.Name != t.Name && k.Live.Stable != "" && other.Live.Serves(k.Live.Stable) {
				facts.With++
			}
		}
	}
	facts.Owner, facts.Folder = promotion.OwnerRole(env.Name, group), s.runtime.Filestore(env.Name, group, facts.Database).String()
	if r, err := s.store.ActiveRollout(ctx, env.Name, t.Name); err == nil {
		facts.Busy = r.PromotionID
	} else if !errors.Is(err, store.ErrNotFound) {
		return facts, err
	}
	took, err := s.store.LastRestored(ctx, env.Name, t.Name)
	if err != nil {
		return facts, fmt.Errorf("look up how long a restore of %s took: %w", t.Name, err)
	}
	if took != nil {
		facts.Took = &runbook.Measured{Seconds: took.Seconds, At: took.At, By: took.Kind + " " + took.ID}
	}
	if facts.Points, err = s.points(ctx, env.Name, t.Name, closely); err != nil {
		facts.Why = err.Error()
	}
	if !closely {
		return facts, nil
	}
	if facts.Last, err = s.lastPromotion(ctx, env.Name, t.Name, facts.Serving.Digest); err != nil {
		return facts, err
	}
	bounded, cancel := context.WithTimeout(ctx, 5*time.Second) // a runbook does not wait for a server that is gone
	defer cancel()
	place, err := s.place(bounded, env)
	if err == nil {
		facts.Size, err = place.Databases.Size(bounded, facts.Database)
	}
	if err != nil {
		facts.Why = err.Error()
	}
	return facts, nil
}

func (s *server) releaseFacts(ctx context.Context, digest string) runbook.Release {
	if digest == "" {
		return runbook.Release{}
	}
	r, err := s.store.Release(ctx, digest)
	if err != nil {
		return runbook.Release{Digest: digest}
	}
	return runbook.Release{Name: r.Name, Digest: r.Digest, Commit: r.Commit, Source: r.Source}
}

// points are the recovery points of a tenant. Of the newest one the manifest is read as well: how much a restore brings back
// is in no list.
func (s *server) points(ctx context.Context, environment, tenant string, closely bool) ([]runbook.Point, error) {
	list, err := s.bucket.List(ctx, environment, tenant)
	if err != nil {
		return nil, fmt.Errorf("the bucket does not answer: %w", err)
	}
	var points []runbook.Point
	for i, c := range list {
		p := runbook.Point{ID: c.ID, At: c.RecoveryPoint, Verified: c.Verified, Release: s.releaseFacts(ctx, c.Release)}
		if i < runbook.MaxPoints && closely {
			if m, err := s.bucket.Load(ctx, c.Ref()); err == nil {
				p.Bytes = bytesOf(m)
			}
		}
		points = append(points, p)
		if !closely {
			break
		}
	}
	return points, nil
}

// bytesOf is what a checkpoint holds, plain: the dump, and the files.
func bytesOf(m *checkpoint.Manifest) (total int64) {
	for _, o := range m.Dump {
		total += o.Size
	}
	for _, f := range m.Files {
		total += f.Size
	}
	return total
}

// lastPromotion is the one that brought what serves; nil where none is on record.
func (s *server) lastPromotion(ctx context.Context, environment, tenant, digest string) (*runbook.Promotion, error) {
	if digest == "" {
		return nil, nil
	}
	p, err := s.store.Brought(ctx, environment, tenant, digest, promotion.KindPromote)
	if errors.Is(err, store.ErrNotFound) || err == nil && p.Outcome != store.Promoted {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	rollouts, err := s.store.Rollouts(ctx, p.ID)
	if err != nil {
		return nil, err
	}
	last := &runbook.Promotion{ID: p.ID, Release: p.ReleaseName, Breaking: estate.Class(p.Class).Breaks(), Ended: p.CreatedAt}
	if p.FinishedAt != nil {
		last.Ended = *p.FinishedAt
	}
	for _, r := range rollouts {
		last.Tenants = append(last.Tenants, r.Tenant)
		if r.Tenant != tenant {
			continue
		}
		var memory promotion.Memory
		if err := json.Unmarshal(r.Memory, &memory); err != nil {
			return nil, err
		}
		last.Before, last.Checkpoint, last.Released = s.releaseFacts(ctx, memory.OldRelease), memory.FenceCheckpoint, memory.ReleasedAt
	}
	return last, nil
}
