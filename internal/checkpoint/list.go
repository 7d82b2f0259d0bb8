package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// List shows the checkpoints of a tenant, newest first; with an empty tenant those of the environment, with an
// empty environment all. It needs no key. Unfinished captures are not shown.
func (s *Store) List(ctx context.Context, env, tenant string) ([]Info, error) {
	envs := []string{env}
	var err error
	if env == "" {
		if envs, err = s.names(ctx, "checkpoints/"); err != nil {
			return nil, err
		}
	}
	var out []Info
	for _, env := range envs {
		tenants := []string{tenant}
		if tenant == "" {
			if tenants, err = s.names(ctx, "checkpoints/"+env+"/"); err != nil {
				return nil, err
			}
		}
		for _, tenant := range tenants {
			ids, err := s.names(ctx, tenantPrefix(env, tenant))
			if err != nil {
				return nil, err
			}
			for _, id := range ids {
				info, err := s.info(ctx, Ref{env, tenant, id})
				if errors.Is(err, ErrNotFound) {
					continue
				}
				if err != nil {
					return nil, err
				}
				out = append(out, info)
			}
		}
	}
	slices.SortFunc(out, func(a, b Info) int {
		if c := b.RecoveryPoint.Compare(a.RecoveryPoint); c != 0 {
			return c
		}
		return strings.Compare(b.ID, a.ID)
	})
	return out, nil
}

// Newest is the newest whole checkpoint of a tenant; false where there is none. It reads no other one's.
func (s *Store) Newest(ctx context.Context, env, tenant string) (Info, bool, error) {
	ids, err := s.names(ctx, tenantPrefix(env, tenant))
	if err != nil {
		return Info{}, false, err
	}
	slices.Sort(ids) // an ID begins with its time
	for _, id := range slices.Backward(ids) {
		info, err := s.info(ctx, Ref{env, tenant, id})
		if errors.Is(err, ErrNotFound) {
			continue
		}
		return info, err == nil, err
	}
	return Info{}, false, nil
}

// info reads the public part of a checkpoint whose manifest exists.
func (s *Store) info(ctx context.Context, ref Ref) (Info, error) {
	var info Info
	if err := ref.check(); err != nil {
		return info, fmt.Errorf("checkpoint %s %w", ref, ErrNotFound) // something else lies in the bucket
	}
	whole, err := s.Bucket.Exists(ctx, ref.manifestKey())
	if err != nil {
		return info, fmt.Errorf("look for checkpoint %s: %w", ref, err)
	}
	if !whole {
		return info, fmt.Errorf("checkpoint %s %w", ref, ErrNotFound)
	}
	if err := s.getPlain(ctx, ref.infoKey(), &info); err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrDamaged) {
		return info, err
	}
	// The place in the bucket is what counts; the plain part could have been changed by anybody who can write there.
	info.Environment, info.Tenant, info.ID = ref.Environment, ref.Tenant, ref.ID
	var v verified
	err = s.getPlain(ctx, ref.verifiedKey(), &v)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return info, err
	}
	info.Verified = v.At
	return info, nil
}

// Load reads a whole manifest. Errors: ErrNotFound, ErrNoIdentity, ErrDamaged.
func (s *Store) Load(ctx context.Context, ref Ref) (*Manifest, error) {
	if err := ref.check(); err != nil {
		return nil, err
	}
	var m Manifest
	err := s.getJSON(ctx, ref.manifestKey(), &m)
	if errors.Is(err, ErrNotFound) {
		return nil, fmt.Errorf("checkpoint %s %w (or its capture was never finished)", ref, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("load checkpoint %s: %w", ref, err)
	}
	if m.Info.Ref() != ref {
		return nil, fmt.Errorf("load checkpoint %s: its manifest is %w: it is that of %s", ref, ErrDamaged, m.Info.Ref())
	}
	var v verified
	if err := s.getPlain(ctx, ref.verifiedKey(), &v); err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	m.Verified = v.At
	return &m, nil
}
