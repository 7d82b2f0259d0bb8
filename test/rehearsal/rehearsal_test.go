//go:build odoo && docker

package rehearsal

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/examples/acme/stage"
	"github.com/waybill-dev/waybill/examples/acme/waybill"
	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/rehearsal"
)

const (
	tenant   = "production/corpus"
	database = "corpus_production"
)

// TestRehearsal rehearses the corpus: WAYBILL_REHEARSAL=all every change, core (the default) six of them, and a
// comma-separated list of names those.
func TestRehearsal(t *testing.T) {
	changes, err := readChanges()
	require.NoError(t, err)
	s := open(t, changes)
	wanted := strings.Split(cmp.Or(os.Getenv("WAYBILL_REHEARSAL"), "core"), ",")
	for _, c := range changes {
		if !slices.Contains(wanted, "all") && !slices.Contains(wanted, c.name) && (!slices.Contains(wanted, "core") || c.expect["core"] != "yes") {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			require.NoError(t, s.Ask(ctx, nil, "build", "--source", filepath.Join(s.Folder, "source"), "--name", c.name, "--commit", c.name))
			before := digest(t, s)
			began := time.Now()
			quiet := traffic(t, s, c)
			var r api.Rehearsal
			err := s.Ask(ctx, &r, "rehearse", c.name, "--env", "production", "--html", filepath.Join(s.Folder, c.name+".html"))
			rate := quiet()
			var refused *waybill.Refused
			if errors.As(err, &refused) { // exit code 1, and what was found all the same
				require.NoError(t, json.Unmarshal([]byte(refused.Output), &r), refused.Error())
				assert.Equal(t, rehearsal.Fails, c.expect["class"])
			} else {
				require.NoError(t, err)
			}
			require.NotNil(t, r.Report, r.Progress)
			t.Logf("%s in %.0f s: %s; pause %s, %.1f s; recovery %.1f s", c.name, time.Since(began).Seconds(), r.Progress, r.Report.Pause, r.Report.PredictedSeconds, r.Report.RecoverySeconds)
			check(t, c, r.Report)
			if rate > 0 {
				blocked(t, c, r.Report, rate)
			}
			assert.Equal(t, before, digest(t, s), "production was touched")
			if page, err := os.ReadFile(filepath.Join(s.Folder, c.name+".html")); c.expect["class"] != rehearsal.Fails && assert.NoError(t, err) {
				assert.Contains(t, string(page), "</html>")
			}
			nothingLeft(t, s)
		})
	}
	for _, around := range []struct {
		name string
		core bool
		do   func(*testing.T, *stage.Stage)
	}{{"killed", true, killed}, {"promotion", true, promotion}, {"calibration", false, calibration}} { // in this order: each promotes onto what was before
		if slices.Contains(wanted, "all") || slices.Contains(wanted, around.name) || around.core && slices.Contains(wanted, "core") {
			t.Run(around.name, func(t *testing.T) { around.do(t, s) })
		}
	}
}

// check holds a report against what the corpus expects.
func check(t *testing.T, c change, r *rehearsal.Report) {
	found := string(r.Class)
	if r.Outcome != rehearsal.Proven {
		found = r.Outcome
	}
	assert.Equal(t, c.expect["class"], found, "%s %s", r.Cause, r.Failure)
	assert.Contains(t, r.Cause+r.Failure, c.expect["cause"])
	assert.Equal(t, c.expect["transactional"] == "no", !r.Transactional, "transactional")
	if pause := c.expect["pause"]; pause != "" {
		assert.Equal(t, pause, r.Pause)
	}
	if part := c.expect["advice"]; part != "" {
		assert.Contains(t, fmt.Sprint(r.Advice), part)
	}
	if part := c.expect["installs"]; part != "" {
		assert.Contains(t, r.Plan.Install, part)
	}
	if c.expect["lock"]+c.expect["statement"] != "" {
		require.NotNil(t, r.Timeline, "no timeline")
	}
	if want := c.expect["lock"]; want != "" {
		table, mode, _ := strings.Cut(want, " ")
		assert.True(t, slices.ContainsFunc(r.Timeline.Locks, func(l rehearsal.Lock) bool {
			return l.Table == "public."+table && l.Mode == mode && l.To > l.From && l.Module == c.module()
		}), "%v", r.Timeline.Locks)
	}
	if tag := c.expect["statement"]; tag != "" {
		assert.True(t, slices.ContainsFunc(r.Timeline.Statements, func(s rehearsal.Statement) bool { return s.Tag == tag && s.Module == c.module() }), "%v", r.Timeline.Statements)
	}
	if want := c.expect["rows"]; want != "" {
		table, rows, _ := strings.Cut(want, " ")
		n, err := strconv.ParseInt(rows, 10, 64)
		require.NoError(t, err)
		require.NotNil(t, r.Effect, "no effect")
		assert.True(t, slices.ContainsFunc(r.Effect.Tables, func(d rehearsal.TableData) bool { return d.Table == table && d.Updated >= n }), "%v", r.Effect.Tables)
	}
	assert.Positive(t, r.Restore.Seconds)
	assert.Positive(t, r.Restore.Rows)
}

// open brings up a server with production on the old release, seeded, and one checkpoint.
func open(t testing.TB, changes []change) *stage.Stage {
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	options, err := stage.Here(ctx, "rehearsal")
	require.NoError(t, err)
	options.Log = t.Logf
	s := &stage.Stage{Options: options, Address: freeAddress(t)}
	t.Cleanup(func() {
		if t.Failed() && os.Getenv("WAYBILL_REHEARSAL_KEEP") != "" {
			t.Logf("kept: %s", s.Folder)
			assert.NoError(t, s.Down())
			return
		}
		assert.NoError(t, s.Close(context.Background()))
		_ = os.Remove(options.Binary)
	})
	step := func(what string, do func() error) {
		began := time.Now()
		require.NoError(t, do(), what)
		t.Logf("%s: %.0f s", what, time.Since(began).Seconds())
	}
	require.NoError(t, os.MkdirAll(s.Data(), 0o755))
	require.NoError(t, os.Chmod(s.Folder, 0o755))
	s.Site.Address = freeAddress(t)
	step("write the source", func() error { return writeSource(ctx, filepath.Join(s.Folder, "source"), changes) })
	step("write the estate", func() error { return writeEstate(s, changes) })
	cache, kept := cached(t, options, changes)
	if kept {
		step("take the database from the cache", func() error { return copyFolders(cache, s.Data()) })
	}
	step("start the server", func() error { return s.Up(ctx) })
	step("base", func() error { return s.Ask(ctx, nil, "base", "import", "--name", "odoo:19.0", options.Base) })
	step("build", func() error {
		return s.Ask(ctx, nil, "build", "--source", filepath.Join(s.Folder, "source"), "--name", "old", "--commit", "old")
	})
	if kept {
		var list []struct {
			ID string `json:"id"`
		}
		require.NoError(t, s.Ask(ctx, &list, "checkpoint", "list", tenant))
		step("tenant", func() error {
			return s.Ask(ctx, nil, "tenant", "create", tenant, "--release", "old", "--from", tenant+"/"+list[0].ID)
		})
	} else {
		step("tenant", func() error { return s.Ask(ctx, nil, "tenant", "create", tenant, "--release", "old") })
		step("seed", func() error { return seed(ctx, s, changes) })
	}
	step("promote", func() error { return s.Ask(ctx, nil, "promote", "old", "production") })
	// Also where the database comes from a checkpoint: that one counts only while the bridge, and with it the release, is the same.
	step("checkpoint", func() error { return s.Ask(ctx, nil, "checkpoint", "create", tenant) })
	if !kept {
		step("keep", func() error { return copyFolders(s.Data(), cache) })
	}
	return s
}

// freeAddress is a port of this machine's loopback that nobody uses now.
func freeAddress(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

func seed(ctx context.Context, s *stage.Stage, changes []change) error {
	url, err := s.DatabaseURL(stage.TenantsServer, database)
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for _, c := range changes {
		if sql := c.expect["seed"]; sql != "" {
			if _, err := conn.Exec(ctx, sql); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	return nil
}

func writeEstate(s *stage.Stage, changes []change) error {
	var modules []string
	for _, c := range changes {
		modules = append(modules, c.module())
	}
	for name, text := range map[string]string{
		"product.yaml": "kind: Product\nname: corpus\nseries: \"19.0\"\nbase: odoo:19.0\naddons: [addons]\nenvironments: [production]\n",
		"production.yaml": fmt.Sprintf(`kind: Environment
name: production
runtime:
  docker:
    http: %s
workers: 0
hold_budget: 10m
rehearsal: required
rollout:
  steps: []
  bake: 0s
---
kind: Tenant
name: corpus
environment: production
database: %s
hosts: [corpus.example]
modules: [%s]
`, s.Site.Address, database, strings.Join(modules, ", ")),
	} {
		path := filepath.Join(s.Folder, "estate", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// cached is where keys and checkpoint of an earlier run are: the database takes a minute or two to make.
func cached(t testing.TB, o stage.Options, changes []change) (dir string, found bool) {
	sum := sha256.New()
	index, err := os.ReadFile(filepath.Join(strings.TrimPrefix(o.Base, "oci:"), "index.json"))
	require.NoError(t, err)
	sum.Write(index)
	for _, c := range changes {
		fmt.Fprintln(sum, c.name, c.expect["seed"])
		for _, path := range slices.Sorted(maps.Keys(c.old)) {
			fmt.Fprintln(sum, path, c.old[path])
		}
	}
	dir = filepath.Join(filepath.Dir(o.Cache), "rehearsal", hex.EncodeToString(sum.Sum(nil))[:16])
	_, err = os.Stat(filepath.Join(dir, "objects"))
	return dir, err == nil
}

// copyFolders copies keys and objects, the objects last: they say that it is whole.
func copyFolders(from, to string) error {
	for _, name := range []string{"keys", "objects"} {
		if err := os.MkdirAll(to, 0o755); err != nil {
			return err
		}
		partial := filepath.Join(to, name+".partial")
		if err := os.RemoveAll(partial); err != nil {
			return err
		}
		if err := copyTree(filepath.Join(from, name), partial); err != nil {
			return err
		}
		if err := os.Rename(partial, filepath.Join(to, name)); err != nil {
			return err
		}
	}
	return nil
}

func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if e.IsDir() {
			return os.MkdirAll(filepath.Join(to, name), info.Mode().Perm())
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), content, info.Mode().Perm())
	})
}

// digest tells whether production's schema and module states are what they were.
func digest(t *testing.T, s *stage.Stage) string {
	url, err := s.DatabaseURL(stage.TenantsServer, database)
	require.NoError(t, err)
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	var text string
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT md5((SELECT string_agg(attrelid || attname || atttypid || attnotnull, ',' ORDER BY attrelid, attnum) FROM pg_attribute WHERE attrelid >= 16384)
		|| (SELECT string_agg(name || state || coalesce(latest_version, ''), ',' ORDER BY name) FROM ir_module_module)
		|| (SELECT string_agg(key || value, ',' ORDER BY key) FROM ir_config_parameter))`).Scan(&text))
	return text
}

// nothingLeft proves that a rehearsal took everything with it.
func nothingLeft(t testing.TB, s *stage.Stage) {
	entries, err := os.ReadDir(filepath.Join(s.Data(), "rehearsals"))
	require.NoError(t, err)
	assert.Empty(t, entries)
	out, err := exec.CommandContext(t.Context(), "docker", "ps", "-a", "--format", "{{.Names}}").Output()
	require.NoError(t, err)
	var list []api.Rehearsal
	require.NoError(t, s.Ask(t.Context(), &list, "rehearsal", "list"))
	for _, r := range list { // others may rehearse on the same engine
		assert.NotContains(t, string(out), "rh-"+r.ID)
	}
	processes, err := filepath.Glob("/proc/[0-9]*/cwd")
	require.NoError(t, err)
	for _, p := range processes {
		if cwd, err := os.Readlink(p); err == nil {
			assert.False(t, strings.HasPrefix(cwd, filepath.Join(s.Data(), "rehearsals")), "process in %s", cwd)
		}
	}
}
