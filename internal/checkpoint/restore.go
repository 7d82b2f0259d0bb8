package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/waybill-dev/waybill/internal/database"
	"github.com/waybill-dev/waybill/internal/filestore"
	"github.com/waybill-dev/waybill/internal/postgres"
)

// Comments on a database that a restore makes, so that after a kill it is known what it is.
const (
	restoringMark = "waybill:restoring "
	restoredMark  = "waybill:restored "
)

// Restore brings a checkpoint into a new database that belongs to Target.Owner and that nobody may connect
// to, compares the rows of every table with the manifest, and adds the files that the filestore lacks;
// nothing in the filestore is replaced or deleted. The caller then swaps the database in.
//
// A restore that was killed is done again by the same call; one that was completed (and not swapped
// yet) is left as it is. A database of that name that is anything else is refused (database.ErrExists). On error the
// new database is dropped; files that were added stay, they belong to nobody but the checkpoint.
func (s *Store) Restore(ctx context.Context, ref Ref, to Target, progress func(Progress)) (*Restored, error) {
	r, err := s.restore(ctx, ref, to, reporter(progress))
	if err != nil {
		return nil, fmt.Errorf("restore checkpoint %s into database %q: %w", ref, to.Database, err)
	}
	return r, nil
}

func (s *Store) restore(ctx context.Context, ref Ref, to Target, progress func(Progress)) (_ *Restored, err error) {
	begun := time.Now()
	m, err := s.Load(ctx, ref)
	if err != nil {
		return nil, err
	}
	work, release, err := s.workFolder("restore-"+to.Database, ref)
	if err != nil {
		return nil, err
	}
	defer release()
	server, err := database.Open(ctx, to.AdminURL)
	if err != nil {
		return nil, err
	}
	defer server.Close()
	unlock, err := lockTarget(ctx, to)
	if err != nil {
		return nil, err
	}
	defer unlock()
	done, err := prepare(ctx, server, to, ref)
	if err != nil {
		return nil, err
	}
	out := &Restored{Database: to.Database, Missing: append(slices.Clone(m.Missing), m.Damaged...)}
	if !done {
		dump := filepath.Join(work, "dump")
		if err := s.download(ctx, m, dump, progress); err != nil {
			return nil, err
		}
		err = server.CreateLike(ctx, to.Database, to.Owner, m.Locale)
		if errors.Is(err, database.ErrLocale) { // another machine: better sorted differently than not at all
			out.Warnings = append(out.Warnings, fmt.Sprintf("this server lacks the locale %s/%s of the captured database; its own is used", m.Locale.Collate, m.Locale.Ctype))
			err = server.Create(ctx, to.Database, to.Owner)
		}
		if err != nil {
			return nil, err
		}
		defer func() {
			if err == nil {
				return
			}
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
			defer cancel()
			if e := server.Drop(ctx, to.Database); e != nil {
				err = errors.Join(err, fmt.Errorf("the half-restored database stays: %w", e))
			}
		}()
		if err := server.SetComment(ctx, to.Database, restoringMark+ref.String()); err != nil {
			return nil, err
		}
		if err := s.load(ctx, m, to, dump, out, progress); err != nil {
			return nil, err
		}
		if err := os.RemoveAll(dump); err != nil {
			return nil, err
		}
	}
	if err := compare(ctx, m, to, out, progress); err != nil {
		return nil, err
	}
	if err := s.addFiles(ctx, m, to, out, progress); err != nil {
		return nil, err
	}
	if err := server.SetComment(ctx, to.Database, restoredMark+ref.String()); err != nil {
		return nil, err
	}
	out.Duration = time.Since(begun)
	return out, nil
}

// lockTarget keeps a second restore, from whatever machine, away from the same database: it would take the
// first one's for a leftover. The lock goes with its session, and so with us.
func lockTarget(ctx context.Context, to Target) (unlock func(), err error) {
	cfg, err := pgx.ParseConfig(to.AdminURL)
	if err != nil {
		return nil, errors.New("the administrator's URL of the database server is not valid")
	}
	conn, err := connect(ctx, to.AdminURL, cfg.Database)
	if err != nil {
		return nil, err
	}
	unlock = func() { _ = conn.Close(context.WithoutCancel(ctx)) }
	for deadline := time.Now().Add(5 * time.Second); ; { // the session of a killed one ends within moments
		var ok bool
		err := conn.QueryRow(ctx, "SELECT pg_try_advisory_lock(22338, hashtext('restore ' || $1))", to.Database).Scan(&ok)
		if err == nil && ok {
			return unlock, nil
		}
		if err == nil && time.Now().After(deadline) {
			err = fmt.Errorf("another restore into it is %w", ErrBusy)
		}
		if err == nil {
			select {
			case <-ctx.Done():
				err = context.Cause(ctx)
			case <-time.After(100 * time.Millisecond):
			}
		}
		if err != nil {
			unlock()
			return nil, err
		}
	}
}

// prepare decides what a database of the target's name is. done: this very restore, completed.
func prepare(ctx context.Context, server *database.Server, to Target, ref Ref) (done bool, err error) {
	comment, err := server.Comment(ctx, to.Database)
	if errors.Is(err, database.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	switch {
	case comment == restoredMark+ref.String():
		return true, nil
	case strings.HasPrefix(comment, restoringMark):
		return false, server.Drop(ctx, to.Database) // what a killed restore left
	case comment == "":
		// Killed between CREATE DATABASE and the comment? Then there is nothing in it.
		conn, err := connect(ctx, to.AdminURL, to.Database)
		if err != nil {
			return false, err
		}
		defer conn.Close(context.WithoutCancel(ctx))
		var used bool
		err = conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_class WHERE oid >= 16384) OR EXISTS (SELECT FROM pg_namespace WHERE oid >= 16384)
			OR EXISTS (SELECT FROM pg_proc WHERE oid >= 16384) OR EXISTS (SELECT FROM pg_type WHERE oid >= 16384)`).Scan(&used)
		if err != nil || !used {
			return false, err
		}
	}
	return false, fmt.Errorf("database %q %w: a restore never writes over one; choose another name and swap it in", to.Database, database.ErrExists)
}

// download brings the dump here, compared with its digests.
func (s *Store) download(ctx context.Context, m *Manifest, dir string, progress func(Progress)) error {
	var need int64
	for _, o := range m.Dump {
		need += o.Size
	}
	if err := needSpace(filepath.Dir(dir), need+need/20+(1<<20), "the dump"); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	return s.readDump(ctx, m, dir, "", func(err error) error { return err }, progress)
}

// Entries of a table of contents that only a superuser could restore, or that depend on roles of the old server.
var (
	skipEntry  = regexp.MustCompile(`^\d+; \d+ \d+ COMMENT - (EXTENSION|SCHEMA public) `)
	grantEntry = regexp.MustCompile(`^\d+; \d+ \d+ (ACL|DEFAULT ACL) `)
)

// load runs pg_restore as the owner: all but grants, where every error counts; then the grants, which may name
// roles that this server does not have.
func (s *Store) load(ctx context.Context, m *Manifest, to Target, dump string, out *Restored, progress func(Progress)) error {
	progress(Progress{Stage: "restore"})
	conn, err := connect(ctx, to.AdminURL, to.Database)
	if err != nil {
		return err
	}
	var major int
	err = conn.QueryRow(ctx, "SELECT current_setting('server_version_num')::int / 10000").Scan(&major)
	if err == nil {
		err = extensions(ctx, conn, m.Extensions)
	}
	conn.Close(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	tools, err := postgres.FindClient(ctx, max(major, majorOf(m.ServerVersion)))
	if err != nil {
		return err
	}
	env, err := connectionEnv(to.AdminURL, to.Database)
	if err != nil {
		return err
	}
	env = unhurried(env)
	var contents strings.Builder
	if err := runProgram(ctx, tools.Path("pg_restore"), nil, &contents, "--list", "--format=directory", dump); err != nil {
		return err
	}
	var main, grants strings.Builder
	for line := range strings.Lines(contents.String()) {
		switch {
		case skipEntry.MatchString(line):
		case grantEntry.MatchString(line):
			grants.WriteString(line)
		default:
			main.WriteString(line)
		}
	}
	jobs := to.Jobs
	if jobs < 1 {
		jobs = runtime.NumCPU()
	}
	pass := func(list, name string, more ...string) error {
		path := filepath.Join(filepath.Dir(dump), name)
		if err := os.WriteFile(path, []byte(list), 0o600); err != nil {
			return err
		}
		total := int64(strings.Count(list, "\n"))
		said := &items{seen: map[string]bool{}, done: func(n int64) { progress(Progress{Stage: "restore", Done: min(n, total), Total: total}) }}
		err := runTelling(ctx, tools.Path("pg_restore"), env, nil, said, append([]string{"--format=directory", "--no-password", "--verbose",
			"--no-owner", "--role=" + to.Owner, "--use-list=" + path, "--dbname=" + to.Database, dump}, more...)...)
		if err != nil && ctx.Err() == nil && tools.Major > major && said.onlySettings() {
			return nil
		}
		return err
	}
	options := []string{"--jobs=" + strconv.Itoa(jobs), "--no-publications", "--no-subscriptions", "--no-tablespaces"}
	if tools.Major <= major { // else it would end at the first setting that the server does not know; every error counts all the same
		options = append(options, "--exit-on-error")
	}
	if err := pass(main.String(), "main.list", options...); err != nil {
		return err
	}
	if grants.Len() > 0 {
		if err := pass(grants.String(), "grants.list"); err != nil {
			if ctx.Err() != nil {
				return err
			}
			out.Warnings = append(out.Warnings, "some grants were not restored: "+err.Error())
		}
	}
	return s.settle(ctx, m, to, out, progress)
}

// unhurried has no commit of a program wait for the disk: each of some ten thousand entries is one, and a restore that a crash
// cuts off is begun anew. The commits that follow, of settle and of the mark that the database is whole, wait for all of them.
func unhurried(env []string) []string {
	const name, option = "PGOPTIONS=", "-c synchronous_commit=off"
	for i, e := range env {
		if given, ok := strings.CutPrefix(e, name); ok {
			env[i] = name + given + " " + option
			return env
		}
	}
	return append(env, name+option)
}

// extensions makes those that the owner itself may not make.
func extensions(ctx context.Context, conn *pgx.Conn, names []string) error {
	for _, name := range names {
		var trusted bool
		err := conn.QueryRow(ctx, `SELECT v.trusted FROM pg_available_extensions e JOIN pg_available_extension_versions v
			ON v.name = e.name AND v.version = e.default_version WHERE e.name = $1`, name).Scan(&trusted)
		if errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("the checkpoint needs the extension %q, which this server does not have: install its package (often postgresql-contrib)", name)
		}
		if err == nil && !trusted {
			_, err = conn.Exec(ctx, "CREATE EXTENSION IF NOT EXISTS "+pgx.Identifier{name}.Sanitize())
		}
		if err != nil {
			return fmt.Errorf("make the extension %q: %w", name, err)
		}
	}
	return nil
}

// settle brings back the database's settings, and statistics, without which the first hours would be slow.
func (s *Store) settle(ctx context.Context, m *Manifest, to Target, out *Restored, progress func(Progress)) error {
	progress(Progress{Stage: "analyze"})
	conn, err := connect(ctx, to.AdminURL, to.Database)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, p := range m.Parameters {
		// set_config in one statement with FROM CURRENT quotes lists such as search_path as the server itself does.
		_, err := conn.Exec(ctx, "SELECT set_config($1, $2, false)", p.Name, p.Value)
		if err == nil {
			_, err = conn.Exec(ctx, "ALTER DATABASE "+pgx.Identifier{to.Database}.Sanitize()+" SET "+parameterName(p.Name)+" FROM CURRENT")
		}
		if err != nil {
			out.Warnings = append(out.Warnings, fmt.Sprintf("the database's setting %s was not restored: %v", p.Name, err))
		}
	}
	_, err = conn.Exec(ctx, "RESET ALL; ANALYZE")
	return err
}

func parameterName(name string) string { return pgx.Identifier(strings.Split(name, ".")).Sanitize() }

// compare counts the rows of every table and holds them against the manifest.
func compare(ctx context.Context, m *Manifest, to Target, out *Restored, progress func(Progress)) error {
	conn, err := connect(ctx, to.AdminURL, to.Database)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	rows, _ := conn.Query(ctx, userTables)
	var tables []table
	var t table
	if _, err := pgx.ForEachRow(rows, []any{&t.name, &t.bytes}, func() error { tables = append(tables, t); return nil }); err != nil {
		return err
	}
	n := int64(0)
	total := int64(len(m.Tables))
	counts, err := countRows(ctx, conn, tables, func() { n++; progress(Progress{Stage: "compare", Done: n, Total: total}) })
	if err != nil {
		return err
	}
	var wrong []string
	for name, want := range m.Tables {
		if got, ok := counts[name]; !ok {
			wrong = append(wrong, fmt.Sprintf("table %s is missing", name))
		} else if got != want {
			wrong = append(wrong, fmt.Sprintf("table %s has %d rows instead of %d", name, got, want))
		}
		out.Rows += want
	}
	for name := range counts {
		if _, ok := m.Tables[name]; !ok {
			wrong = append(wrong, fmt.Sprintf("table %s is not in the manifest", name))
		}
	}
	if len(wrong) > 0 {
		slices.Sort(wrong)
		return fmt.Errorf("the restored database is not what was captured: %s", strings.Join(wrong[:min(len(wrong), maxProblems)], "; "))
	}
	out.Tables = len(counts)
	return nil
}

// addFiles adds what the filestore lacks.
func (s *Store) addFiles(ctx context.Context, m *Manifest, to Target, out *Restored, progress func(Progress)) error {
	if len(m.Files) == 0 {
		return nil
	}
	if to.Filestore == nil {
		return fmt.Errorf("the checkpoint has %d files and no place is given for the filestore", len(m.Files))
	}
	for _, f := range m.Files {
		if !filestore.Valid(f.Name) {
			return fmt.Errorf("the manifest is %w: %q is no file of a filestore", ErrDamaged, f.Name)
		}
	}
	total := int64(len(m.Files))
	var mu sync.Mutex
	finished := int64(0)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(s.parallel())
	for _, f := range m.Files {
		group.Go(func() error {
			added, err := s.addFile(ctx, m.Info.Ref(), to.Filestore, f)
			if err != nil {
				return fmt.Errorf("add %s to the filestore: %w", f.Name, err)
			}
			mu.Lock()
			defer mu.Unlock()
			switch added {
			case filestore.New:
				out.FilesAdded++
			case filestore.Conflict:
				out.Conflicts = append(out.Conflicts, f.Name)
			default:
				out.FilesKept++
			}
			finished++
			progress(Progress{Stage: "filestore", Done: finished, Total: total})
			return nil
		})
	}
	return group.Wait()
}
