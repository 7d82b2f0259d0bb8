package checkpoint

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/filestore"
	"github.com/waybill-dev/waybill/internal/long"
)

// childEnv makes this test binary a process that does one piece of work and stops at a stage for good, to be killed.
const childEnv = "WAYBILL_TEST_CHECKPOINT_CHILD"

type errand struct {
	Bucket, TempDir, Key string
	Recipients           []string
	Capture              *Subject
	Restore              *Ref
	To                   Target
	Files                string // folder of the filestore, of either
	Stage                string
	Done                 int64
}

func child() {
	var e errand
	if err := json.Unmarshal([]byte(os.Getenv(childEnv)), &e); err != nil {
		panic(err)
	}
	ctx := context.Background()
	s, err := OpenStore(ctx, "file://"+e.Bucket, e.Key)
	if err != nil {
		panic(err)
	}
	for _, r := range e.Recipients {
		rec, err := age.ParseX25519Recipient(r)
		if err != nil {
			panic(err)
		}
		s.Recipients = append(s.Recipients, rec)
	}
	s.TempDir = e.TempDir
	stop := func(p Progress) {
		if p.Stage == e.Stage && p.Done >= e.Done {
			fmt.Println("REACHED")
			select {}
		}
	}
	if e.Capture != nil {
		e.Capture.Filestore = filestore.Dir(e.Files)
		_, err = s.Capture(ctx, *e.Capture, stop)
	} else {
		e.To.Filestore = filestore.Dir(e.Files)
		_, err = s.Restore(ctx, *e.Restore, e.To, stop)
	}
	fmt.Println("ENDED", err)
}

// killedAt runs an errand in another process and kills that as soon as it is at the stage.
func (b *bundle) killedAt(e errand) {
	b.t.Helper()
	e.Bucket, e.TempDir, e.Key = b.bucket, b.store.TempDir, b.keyFile
	for _, r := range b.store.Recipients {
		e.Recipients = append(e.Recipients, fmt.Sprint(r))
	}
	if e.Capture != nil { // an interface does not travel
		own := *e.Capture
		e.Files, own.Filestore = own.Filestore.String(), nil
		e.Capture = &own
	} else {
		e.Files, e.To.Filestore = e.To.Filestore.String(), nil
	}
	raw, err := json.Marshal(e)
	require.NoError(b.t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+string(raw))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(b.t, err)
	require.NoError(b.t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(b.t, err)
	require.Equal(b.t, "REACHED\n", line)
	require.NoError(b.t, cmd.Process.Kill())
	_ = cmd.Wait()
}

func TestCaptureKilled(t *testing.T) {
	long.Test(t)
	b, ctx := setup(t), t.Context()
	want := b.content(b.db)
	for i, at := range []errand{{Stage: "dump"}, {Stage: "dump", Done: 5}, {Stage: "upload", Done: 3}, {Stage: "filestore", Done: 11}, {Stage: "manifest"}} {
		id := fmt.Sprint("killed-", i)
		sub := b.subject(id)
		at.Capture = &sub
		b.killedAt(at)
		infos, err := b.store.List(ctx, "production", "acme")
		require.NoError(t, err)
		require.Len(t, infos, i, "a killed capture is no checkpoint")
		_, err = b.store.Load(ctx, Ref{"production", "acme", id})
		require.ErrorIs(t, err, ErrNotFound)
		// pg_dump dies with the process that started it, and so do its sessions.
		conn, err := connect(ctx, cluster(t).URL("postgres"), "postgres")
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			n := -1
			_ = conn.QueryRow(ctx, "SELECT count(*) FROM pg_stat_activity WHERE datname = $1", b.db).Scan(&n)
			return n == 0
		}, time.Minute, 20*time.Millisecond)
		conn.Close(ctx)

		m := b.capture(id)
		require.Equal(t, 40, m.FileCount)
		_, err = b.store.VerifyFully(ctx, m.Ref(), nil)
		require.NoError(t, err)
		has, err := b.store.Bucket.Exists(ctx, m.Ref().startedKey())
		require.NoError(t, err)
		require.False(t, has)
	}
	to := b.target("cp_killed_new")
	_, err := b.store.Restore(ctx, Ref{"production", "acme", "killed-2"}, to, nil)
	require.NoError(t, err)
	require.Equal(t, want, b.content(to.Database))
}

func TestRestoreKilled(t *testing.T) {
	long.Test(t)
	b, ctx := setup(t), t.Context()
	want := b.content(b.db)
	m := b.capture("")
	ref := m.Ref()
	for i, at := range []errand{{Stage: "download", Done: 2}, {Stage: "restore"}, {Stage: "restore", Done: 4}, {Stage: "compare", Done: 2}, {Stage: "filestore", Done: 9}} {
		to := b.target(fmt.Sprint("cp_restorekilled_", i))
		at.Restore, at.To = &ref, to
		b.killedAt(at)
		_, err := b.store.Restore(ctx, ref, to, nil)
		require.NoError(t, err, at.Stage)
		require.Equal(t, want, b.content(to.Database))
		parts, err := filepath.Glob(filepath.Join(to.Filestore.String(), "*", "[0-9a-f]*"))
		require.NoError(t, err)
		require.Len(t, parts, 40)
	}
}

// A killed capture's plain dump does not lie about until the same one is tried again: any later work removes it.
func TestLeftoversOfTheDeadAreRemoved(t *testing.T) {
	long.Test(t)
	b := setup(t)
	sub := b.subject("dead")
	b.killedAt(errand{Capture: &sub, Stage: "upload", Done: 1})
	left, err := filepath.Glob(filepath.Join(b.store.TempDir, "waybill-capture-*", "dump", "toc.dat"))
	require.NoError(t, err)
	require.Len(t, left, 1)
	b.capture("alive")
	require.NoFileExists(t, left[0])
}

// tiny mounts a file system of so many bytes.
func tiny(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	err := syscall.Mount("waybill-test", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", size))
	require.NoError(t, err, "a small file system is needed to fill: run the tests as root (sudo -E go test ./internal/checkpoint)")
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	return dir
}

func used(t *testing.T, dir string) uint64 {
	var st syscall.Statfs_t
	require.NoError(t, syscall.Statfs(dir, &st))
	return (st.Blocks - st.Bfree) * uint64(st.Bsize)
}

func TestFullDisk(t *testing.T) {
	long.Test(t)
	t.Run("temp beforehand", func(t *testing.T) {
		b := setup(t)
		b.store.TempDir = tiny(t, 1<<20)
		_, err := b.store.Capture(t.Context(), b.subject(""), nil)
		require.ErrorIs(t, err, ErrNoSpace)
		require.ErrorContains(t, err, "takes about")
		require.Empty(t, b.objects())
	})
	t.Run("temp too late", func(t *testing.T) {
		b := setup(t)
		// What TOAST compresses to nothing grows in a dump.
		b.exec(b.db, "CREATE TABLE grows AS SELECT repeat('x', 1000000) AS t FROM generate_series(1, 30)")
		b.store.TempDir = tiny(t, 12<<20)
		_, err := b.store.Capture(t.Context(), b.subject(""), nil)
		require.ErrorIs(t, err, ErrNoSpace)
		require.ErrorContains(t, err, b.store.TempDir)
		require.Empty(t, b.objects())
		require.LessOrEqual(t, used(t, b.store.TempDir), uint64(64<<10))
	})
	t.Run("bucket", func(t *testing.T) {
		b := setup(t)
		for range 30 {
			b.addFile(noise(300 << 10))
		}
		b.bucket = tiny(t, 4<<20)
		small, err := Open(t.Context(), "file://"+b.bucket, b.store.Recipients, b.store.Identities)
		require.NoError(t, err)
		defer small.Close()
		small.TempDir = b.store.TempDir
		_, err = small.Capture(t.Context(), b.subject("full"), nil)
		require.ErrorIs(t, err, ErrNoSpace)
		require.ErrorContains(t, err, "in the bucket")
		require.Empty(t, b.objects(), "nothing half-done stays, not even copied files")
		infos, err := small.List(t.Context(), "", "")
		require.NoError(t, err)
		require.Empty(t, infos)
	})
	t.Run("restore", func(t *testing.T) {
		b := setup(t)
		for range 10 {
			b.addFile(noise(300 << 10))
		}
		m := b.capture("")
		to := b.target("cp_fulldisk_new")
		to.Filestore = filestore.Dir(filepath.Join(tiny(t, 1<<20), "filestore"))
		_, err := b.store.Restore(t.Context(), m.Ref(), to, nil)
		require.ErrorIs(t, err, ErrNoSpace)
		exists, err := b.server.Exists(t.Context(), to.Database)
		require.NoError(t, err)
		require.False(t, exists)
		for _, pattern := range []string{"*/.waybill-*"} {
			left, _ := filepath.Glob(filepath.Join(to.Filestore.String(), pattern))
			require.Empty(t, left)
		}
	})
}

func TestCancelled(t *testing.T) {
	long.Test(t)
	b := setup(t)
	for _, stage := range []string{"dump", "upload", "filestore"} {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := b.store.Capture(ctx, b.subject("x"), func(p Progress) {
			if p.Stage == stage && p.Done > 0 {
				cancel()
			}
		})
		require.ErrorIs(t, err, context.Canceled, stage)
		for _, path := range b.objects() {
			require.False(t, strings.HasPrefix(path, "checkpoints/"), path)
		}
	}
}

func TestOneCaptureAtATime(t *testing.T) {
	long.Test(t)
	b := setup(t)
	started, finish := make(chan struct{}), make(chan struct{})
	first := make(chan error, 1)
	go func() {
		_, err := b.store.Capture(t.Context(), b.subject("same"), func(p Progress) {
			if p.Stage == "manifest" && p.Done == 0 {
				close(started)
				<-finish
			}
		})
		first <- err
	}()
	<-started
	_, err := b.store.Capture(t.Context(), b.subject("same"), nil)
	require.ErrorIs(t, err, ErrBusy)
	close(finish)
	require.NoError(t, <-first)
}

func TestOneRestoreAtATime(t *testing.T) {
	long.Test(t)
	b := setup(t)
	m, other := b.capture(""), b.capture("")
	to := b.target("cp_onerestore_new")
	started, finish := make(chan struct{}), make(chan struct{})
	first := make(chan error, 1)
	go func() {
		_, err := b.store.Restore(t.Context(), m.Ref(), to, func(p Progress) {
			if p.Stage == "restore" && p.Done == 0 {
				close(started)
				<-finish
			}
		})
		first <- err
	}()
	<-started
	_, err := b.store.Restore(t.Context(), other.Ref(), to, nil)
	require.ErrorIs(t, err, ErrBusy)
	close(finish)
	require.NoError(t, <-first)
}

// The same over the S3 protocol.
func TestS3(t *testing.T) {
	long.Test(t)
	b, ctx := setup(t), t.Context()
	backend := s3mem.New()
	require.NoError(t, backend.CreateBucket("waybill"))
	server := httptest.NewServer(gofakes3.New(backend).Server())
	defer server.Close()
	s, err := Open(ctx, "s3://waybill?region=us-east-1&use_path_style=true&endpoint="+server.URL, b.store.Recipients, b.store.Identities)
	require.NoError(t, err)
	defer s.Close()
	s.TempDir = b.store.TempDir
	large := b.addFile(noise(12 << 20)) // more than one part
	m, err := s.Capture(ctx, b.subject(""), nil)
	require.NoError(t, err)
	_, err = s.Verify(ctx, m.Ref(), nil)
	require.NoError(t, err)
	to := b.target("cp_s3_new")
	r, err := s.Restore(ctx, m.Ref(), to, nil)
	require.NoError(t, err)
	require.Equal(t, 41, r.FilesAdded)
	require.Equal(t, b.content(b.db), b.content(to.Database))
	require.FileExists(t, filepath.Join(to.Filestore.String(), large))

	require.NoError(t, s.remove(ctx, m.Ref().fileKey(large)))
	_, err = s.Verify(ctx, m.Ref(), nil)
	require.ErrorIs(t, err, ErrDamaged)
	require.ErrorContains(t, err, large)
	require.NoError(t, s.Delete(ctx, m.Ref()))
	infos, err := s.List(ctx, "", "")
	require.NoError(t, err)
	require.Empty(t, infos)
	server.Close()
	short, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	_, err = s.Load(short, m.Ref())
	require.Error(t, err)
	require.NotErrorIs(t, err, ErrDamaged, "a server that is down is no damage")
	require.NotErrorIs(t, err, ErrNotFound)
}
