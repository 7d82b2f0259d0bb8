//go:build odoo

package kill

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/examples/acme/stage"
)

// TestKillTenantsDatabase restarts the tenants' PostgreSQL, as a crash would, while the update works.
func TestKillTenantsDatabase(t *testing.T) {
	fullOnly(t)
	s := theStage(t)
	play(t, scenario{release: "r2", meddle: func(ctx context.Context, t *testing.T) {
		awaitUpdate(ctx, t, s)
		restartDatabase(ctx, t, s, stage.TenantsServer)
	}})
	mayEnterAgain(t, "r2")
}

// TestKillStateDatabase restarts Waybill's own PostgreSQL in the middle of an update.
func TestKillStateDatabase(t *testing.T) {
	fullOnly(t)
	s := theStage(t)
	play(t, scenario{release: "r2", outcome: promoted, serving: "r2", schema: "r2", meddle: func(ctx context.Context, t *testing.T) {
		awaitUpdate(ctx, t, s)
		restartDatabase(ctx, t, s, stage.StateServer)
	}})
}

// mayEnterAgain lifts the quarantine of a release that was, rightly, taken back.
func mayEnterAgain(t *testing.T, release string) {
	t.Helper()
	if err := theStage(t).Ask(t.Context(), nil, "quarantine", "lift", stage.Environment, release); err != nil {
		t.Error(err)
	}
}

// awaitUpdate returns once the update's own session works in the tenant's database.
func awaitUpdate(ctx context.Context, t *testing.T, s *stage.Stage) {
	t.Helper()
	err := stage.Poll(ctx, 20*time.Millisecond, "the update to work in the database", func() (bool, error) {
		var working bool
		err := query(ctx, s, stage.TenantsServer, stage.Database, func(db *pgx.Conn) error {
			return db.QueryRow(ctx, `select exists (select from pg_stat_activity where usename like 'wb\_%\_update' and backend_xid is not null)`).Scan(&working)
		})
		return working, err
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, s.LogTail())
	}
}

// restartDatabase ends a server without letting it write anything out, and starts it again.
func restartDatabase(ctx context.Context, t *testing.T, s *stage.Stage, server string) {
	t.Helper()
	folder := s.ServerFolder(server)
	owner, err := os.Stat(folder)
	if err != nil {
		t.Fatal(err)
	}
	programs, err := filepath.Glob("/usr/lib/postgresql/*/bin/pg_ctl")
	if err != nil || len(programs) == 0 {
		t.Fatal("no pg_ctl on this machine: hack/setup.sh packages postgresql")
	}
	restart := exec.CommandContext(ctx, programs[len(programs)-1], "restart", "--pgdata", folder, "--mode", "immediate", "--wait", "--silent",
		"--log", filepath.Join(filepath.Dir(folder), "server.log"))
	restart.Dir = folder
	if os.Geteuid() == 0 { // PostgreSQL refuses root
		o := owner.Sys().(*syscall.Stat_t)
		restart.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: o.Uid, Gid: o.Gid}}
	}
	if out, err := restart.CombinedOutput(); err != nil {
		t.Fatalf("restart PostgreSQL %s: %v: %s", server, err, out)
	}
}

// TestKillRegistry takes the registry's images away.
func TestKillRegistry(t *testing.T) {
	fullOnly(t)
	s := theStage(t)
	images := filepath.Join(s.Data(), "registry")
	away := func(t *testing.T) {
		if err := os.Rename(images, images+".away"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { back(t, images) })
	}
	t.Run("before it is admitted", func(t *testing.T) {
		play(t, scenario{release: "r2", outcome: rolledBack, reason: "registry", serving: "r1", schema: "r1", before: away})
		back(t, images)
	})
	t.Run("before its pool is started", func(t *testing.T) {
		play(t, scenario{release: "r2", points: []string{"before:start pool"}, meddle: func(ctx context.Context, t *testing.T) {
			select {
			case <-s.Server.Ended:
				away(t)
			case <-ctx.Done():
			}
		}})
		back(t, images)
		mayEnterAgain(t, "r2")
	})
}

// back puts the images where they were. What the server has made there meanwhile goes.
func back(t *testing.T, images string) {
	t.Helper()
	if _, err := os.Stat(images + ".away"); err != nil {
		return
	}
	if err := errors.Join(os.RemoveAll(images), os.Rename(images+".away", images)); err != nil {
		t.Error(err)
	}
}

// TestKillDisk has the checkpoint run into a full disk: a small file system, mounted over the folder
// of the checkpoints.
func TestKillDisk(t *testing.T) {
	fullOnly(t)
	s := theStage(t)
	toBase(t, s)
	full := filepath.Join(s.Data(), "objects", "checkpoints", stage.Environment, "acme")
	known := listing(t, full)
	small := filepath.Join(t.TempDir(), "small.img")
	mount := func(t *testing.T) {
		for _, command := range [][]string{
			{"truncate", "-s", "2M", small}, {"mkfs.ext4", "-q", small}, {"mount", "-o", "loop", small, full},
		} {
			if out, err := exec.CommandContext(t.Context(), command[0], command[1:]...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %v: %s; a full disk is made as root, with: hack/setup.sh packages filesystems", command, err, out)
			}
		}
	}
	unmount := func() {
		if out, err := exec.Command("umount", full).CombinedOutput(); err != nil {
			t.Errorf("umount %s: %v: %s", full, err, out)
		}
	}
	mounted := false
	defer func() {
		if mounted {
			unmount()
		}
	}()
	play(t, scenario{release: "r2", outcome: rolledBack, reason: "space", serving: "r1", schema: "r1",
		before: func(t *testing.T) { mount(t); mounted = true }})
	left := listing(t, full)
	unmount()
	mounted = false
	for _, name := range left {
		if !strings.HasPrefix(name, "lost+found") && !strings.HasSuffix(name, "/started") {
			t.Errorf("half a checkpoint is left on the full disk: %s", name)
		}
	}
	if now := listing(t, full); len(now) != len(known) {
		t.Errorf("checkpoints of before: %d files, now %d", len(known), len(now))
	}
	mayEnterAgain(t, "r2")
}

func listing(t *testing.T, folder string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(folder, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(folder, path)
		names = append(names, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
