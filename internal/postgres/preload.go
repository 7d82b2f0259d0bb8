package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// preload has the server load what Options.Preload asks for, as far as it is installed for this version: a library that
// is missing would keep the server from starting.
func (c *Cluster) preload() {
	if c.opts.Settings["shared_preload_libraries"] != "" {
		return // somebody knows better
	}
	var there []string
	for _, name := range c.opts.Preload {
		if c.bins.hasExtension(name) {
			there = append(there, name)
		}
	}
	c.opts.Preload = there
	if len(there) == 0 {
		return
	}
	settings := maps.Clone(c.opts.Settings)
	if settings == nil {
		settings = map[string]string{}
	}
	settings["shared_preload_libraries"] = strings.Join(there, ",")
	c.opts.Settings = settings
}

// createPreloaded makes the extensions in the maintenance database, where they show what happens in all of them. In a
// tenant's own they would travel with its dumps.
func (c *Cluster) createPreloaded(ctx context.Context) error {
	if len(c.opts.Preload) == 0 {
		return nil
	}
	conn, err := pgx.Connect(ctx, c.URL("postgres"))
	if err != nil {
		return errors.New("connect to the maintenance database failed")
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for _, name := range c.opts.Preload {
		if _, err := conn.Exec(ctx, "CREATE EXTENSION IF NOT EXISTS "+pgx.Identifier{name}.Sanitize()); err != nil {
			return fmt.Errorf("create extension %s: %w", name, err)
		}
	}
	return nil
}

// hasExtension looks for library and control file where Debian's packages and a build of one's own put them.
func (b Binaries) hasExtension(name string) bool {
	exists := func(patterns ...string) bool {
		for _, p := range patterns {
			if found, _ := filepath.Glob(p); len(found) > 0 {
				return true
			}
		}
		return false
	}
	root := filepath.Dir(b.Dir)
	return exists(filepath.Join(root, "lib", name+".so"), filepath.Join(root, "lib", "postgresql", name+".so")) &&
		exists(filepath.Join("/usr/share/postgresql", strconv.Itoa(b.Major), "extension", name+".control"),
			filepath.Join(root, "share", "extension", name+".control"), filepath.Join(root, "share", "postgresql", "extension", name+".control"))
}
