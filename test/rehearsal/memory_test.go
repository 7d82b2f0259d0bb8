//go:build odoo && docker

package rehearsal

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/waybill-dev/waybill/examples/acme/stage"
	"github.com/waybill-dev/waybill/internal/server"
)

const (
	bulk         = 5_000_000_000 // bytes of the database
	mostMemory   = 300_000_000   // bytes of one Waybill process
	mostSilence  = 30 * time.Second
	needed       = 45 << 30 // bytes of disk: the database, its dump, the two copies of it, write-ahead logs, and what the check beforehand asks for
	bulkFiles    = 8
	bulkFileSize = 16 << 20
)

// benchMemory has a large tenant's checkpoint taken and rehearsed on, and looks at how much memory Waybill's own
// processes took at most, and how long they said nothing.
func benchMemory(b *testing.B, on *bench) {
	var fs unix.Statfs_t
	require.NoError(b, unix.Statfs(on.Folder, &fs))
	if free := int64(fs.Bavail) * fs.Bsize; free < needed {
		b.Fatalf("%s has %d GiB free; the benchmark takes %d GiB: free some, or set TMPDIR", on.Folder, free>>30, needed>>30)
	}
	enlarge(b, on)
	const name = "large"
	on.promoted = append(on.promoted, on.named(b, "nullable")...)
	require.NoError(b, tagTogether(b.Context(), filepath.Join(on.Folder, "source"), name, on.promoted...))
	release(b, on.Stage, name)

	// A process's peak counts from its start, and building is not what is looked at.
	require.NoError(b, on.Down())
	require.NoError(b, on.Up(b.Context()))
	content, err := os.ReadFile(filepath.Join(on.Data(), server.AddressFile))
	require.NoError(b, err)
	var address server.Address
	require.NoError(b, json.Unmarshal(content, &address))
	for _, verb := range [][]string{{"checkpoint", "create", tenant}, {"rehearse", name, "--env", "production"}} {
		t := observe(b, on, verb...)
		own, _ := peak(address.PID)
		b.Logf("memory: waybill %s took %.0f s; at most %.0f MB itself, the server %.0f MB so far; silent for at most %.0f s (after %q), %d lines of progress",
			strings.Join(verb, " "), t.seconds, float64(t.peak)/1e6, float64(own)/1e6, t.silence.Seconds(), t.after, t.lines)
		b.ReportMetric(float64(own)/1e6, verb[0]+"-server-MB")
		b.ReportMetric(float64(t.peak)/1e6, verb[0]+"-client-MB")
		if own == 0 || t.peak == 0 || own > mostMemory || t.peak > mostMemory {
			b.Errorf("waybill %s: the server took %d bytes, the client %d; at most %d are allowed", verb[0], own, t.peak, int64(mostMemory))
		}
		if verb[0] == "rehearse" && t.silence > mostSilence { // what a promotion's steps are at, a terminal shows in one line that changes
			b.Errorf("waybill %s said nothing for %s, after %q", verb[0], t.silence.Round(time.Second), t.after)
		}
	}
	nothingLeft(b, on.Stage)
}

// enlarge fills a table and the filestore of production.
func enlarge(b *testing.B, on *bench) {
	url, err := on.DatabaseURL(stage.TenantsServer, database)
	require.NoError(b, err)
	conn, err := pgx.Connect(b.Context(), url)
	require.NoError(b, err)
	defer conn.Close(context.Background())
	run := func(sql string, args ...any) {
		_, err := conn.Exec(b.Context(), sql, args...)
		require.NoError(b, err, sql)
	}
	run("CREATE TABLE wbc_bulk (id bigint, payload text)")
	var owner string
	require.NoError(b, conn.QueryRow(b.Context(), "SELECT relowner::regrole::text FROM pg_class WHERE oid = 'res_users'::regclass").Scan(&owner))
	run("ALTER TABLE wbc_bulk OWNER TO " + owner)
	const step = 400_000
	for from := 0; ; from += step {
		var size int64
		require.NoError(b, conn.QueryRow(b.Context(), "SELECT pg_database_size(current_database())").Scan(&size))
		b.Logf("memory: the database has %d of %d MB", size/1e6, int64(bulk/1e6))
		if size >= bulk {
			break
		}
		run("INSERT INTO wbc_bulk SELECT i, repeat(md5(i::text), 31) FROM generate_series($1::bigint, $2::bigint) i", from+1, from+step)
	}
	folder := filepath.Join(filepath.Dir(on.Filestore()), database)
	dice := rand.NewChaCha8([32]byte{19})
	content := make([]byte, bulkFileSize)
	for n := range bulkFiles {
		_, _ = dice.Read(content)
		sum := sha1.Sum(content)
		name := hex.EncodeToString(sum[:])
		dir := filepath.Join(folder, name[:2])
		require.NoError(b, os.MkdirAll(dir, 0o755))
		require.NoError(b, os.WriteFile(filepath.Join(dir, name), content, 0o644))
		run("INSERT INTO ir_attachment (name, type, store_fname, file_size, checksum, mimetype) VALUES ($1, 'binary', $2, $3, $4, 'application/octet-stream')",
			fmt.Sprintf("bulk %d", n), name[:2]+"/"+name, bulkFileSize, name)
	}
	b.Logf("memory: %d files of %d MiB", bulkFiles, bulkFileSize>>20)
}

// told is what was seen of a verb.
type told struct {
	seconds float64
	peak    int64 // bytes
	lines   int
	silence time.Duration // the longest
	after   string        // the line before it
}

// observe runs a verb as a person does and looks at its memory and at what it says.
func observe(b *testing.B, on *bench, args ...string) told {
	cmd := exec.CommandContext(b.Context(), on.Binary, append(args, "--data", on.Data())...)
	reader, writer := io.Pipe()
	cmd.Stdout, cmd.Stderr = writer, writer
	began := time.Now()
	require.NoError(b, cmd.Start())
	var t told
	heard := make(chan struct{})
	var said []string
	go func() {
		defer close(heard)
		last, before := began, "its start"
		note := func(line string) {
			if quiet := time.Since(last); quiet > t.silence {
				t.silence, t.after = quiet, before
			}
			last, before = time.Now(), line
		}
		lines := bufio.NewScanner(reader)
		for lines.Scan() {
			note(lines.Text())
			said = append(said, lines.Text())
			t.lines++
		}
		note("")
		_, _ = io.Copy(io.Discard, reader)
	}()
	ended := make(chan struct{})
	looked := make(chan struct{})
	go func() { // not from rusage: Linux starts that at the parent's size
		defer close(looked)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			if now, ok := peak(cmd.Process.Pid); ok {
				t.peak = max(t.peak, now)
			}
			select {
			case <-ended:
				return
			case <-tick.C:
			}
		}
	}()
	err := cmd.Wait()
	close(ended)
	<-looked
	writer.Close()
	<-heard
	t.seconds = time.Since(began).Seconds()
	require.NoError(b, err, "%s", strings.Join(said[max(0, len(said)-15):], "\n"))
	return t
}

// peak is the most that a process had in memory so far, in bytes.
func peak(pid int) (int64, bool) {
	content, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(content)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib << 10, err == nil
		}
	}
	return 0, false // it has ended, and nobody has waited for it yet
}
