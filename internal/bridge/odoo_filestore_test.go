//go:build odoo

package bridge

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"

	"github.com/waybill-dev/waybill/internal/filestore"
	"github.com/waybill-dev/waybill/internal/filestore/gateway"
)

// fileGateway is a gateway before a bucket in memory, where the containers of this run reach it.
type fileGateway struct {
	addr   string
	bucket *blob.Bucket
	server *http.Server
	done   chan error
}

const (
	filesKey    = "0123456789abcdef0123456789abcdef"
	filesPrefix = "test/shared/"
)

func (b *bundle) fileGateway(t *testing.T) *fileGateway {
	t.Helper()
	out, err := exec.Command("docker", "network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", b.net(t)).Output()
	require.NoError(t, err)
	g := &fileGateway{addr: net.JoinHostPort(strings.TrimSpace(string(out)), "0"), bucket: memblob.OpenBucket(nil)}
	t.Cleanup(func() { _ = g.bucket.Close() })
	g.start(t)
	t.Cleanup(g.stop)
	return g
}

// start listens where it did before.
func (g *fileGateway) start(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", g.addr)
	require.NoError(t, err)
	g.addr, g.done = l.Addr().String(), make(chan error, 1)
	g.server = gateway.Server(gateway.New(gateway.Options{
		Key: []byte(filesKey), Store: gateway.InBucket(g.bucket), Ready: gateway.Listed(g.bucket), Log: slog.New(slog.DiscardHandler),
	}))
	go func() { g.done <- g.server.Serve(l) }()
}

// stop is a kill: also of the connections that are kept.
func (g *fileGateway) stop() {
	if g.server != nil {
		_ = g.server.Close()
		<-g.done
		g.server = nil
	}
}

// file is files.json.
func (g *fileGateway) file(t *testing.T) map[string][]byte {
	t.Helper()
	content, err := json.Marshal(FilesConfig{Protocol: Protocol, URL: "http://" + g.addr, Token: gateway.Token([]byte(filesKey), filesPrefix), Cache: 1 << 30})
	require.NoError(t, err)
	return map[string][]byte{FilesFile: content}
}

func (g *fileGateway) of(database string) filestore.Store {
	return gateway.InBucket(g.bucket)(filesPrefix, database)
}

func (g *fileGateway) has(t *testing.T, database string, content []byte) bool {
	t.Helper()
	_, err := g.of(database).Stat(t.Context(), storeName(content))
	require.True(t, err == nil || errors.Is(err, os.ErrNotExist), "%v", err)
	return err == nil
}

func storeName(content []byte) string {
	sum := sha1.Sum(content)
	name := hex.EncodeToString(sum[:])
	return name[:2] + "/" + name
}

// attach creates an attachment that everybody may read, and returns its path.
func (p *pool) attach(t *testing.T, host, session string, content []byte) string {
	t.Helper()
	id := p.call(t, host, session, "ir.attachment", "create", []any{[]any{attachment(content)}}, nil)
	return "/web/content/" + strings.Trim(string(id), "[]")
}

func attachment(content []byte) map[string]any {
	return map[string]any{"name": "wbt.bin", "public": true, "mimetype": "application/octet-stream", "datas": base64.StdEncoding.EncodeToString(content)}
}

func (b *bundle) attachments(t *testing.T, database string) string {
	t.Helper()
	return b.text(t, database, "SELECT count(*) FROM ir_attachment")
}

// TestFilesInObjectStorage: two pods of a real Odoo with nothing in common but the database and a gateway.
func TestFilesInObjectStorage(t *testing.T) {
	b := setup(t)
	db := b.database(t)
	const host = "a.example"
	g := b.fileGateway(t)
	inherited := b.text(t, db, "SELECT max(id) FROM ir_attachment") // of the template: their files are in no bucket
	mine := tenant(db, host)
	config := PoolConfig{Generation: 1, Tenants: []PoolTenant{mine}}
	one := b.poolWith(t, "v1", "web", config, g.file(t))
	two := b.poolWith(t, "v1", "web", config, g.file(t), "--workers=2")
	for _, p := range []*pool{one, two} {
		said := p.ready(t, db)
		require.True(t, said.Ready, said.Reason)
	}
	session, other := one.login(t, host, db), two.login(t, host, db)
	get := func(p *pool, path string) reply { return p.do(t, "GET", host, path, "", nil) }

	first := bytes.Repeat([]byte("first "), 50000)
	path := one.attach(t, host, session, first)
	require.True(t, g.has(t, db, first))
	t.Run("read in the other pod", func(t *testing.T) {
		var all sync.WaitGroup // by its processes and threads at once
		for range 12 {
			all.Go(func() {
				answer := get(two, path)
				assert.Equal(t, 200, answer.status)
				assert.Equal(t, string(first), answer.body)
			})
		}
		all.Wait()
		raw := two.call(t, host, other, "ir.attachment", "read", []any{[]any{json.RawMessage(strings.TrimPrefix(path, "/web/content/"))}, []string{"datas"}}, nil)
		require.Contains(t, string(raw), base64.StdEncoding.EncodeToString(first))
		socket := b.poolWith(t, "v1", "websocket", config, g.file(t))
		require.Equal(t, string(first), get(socket, path).body)
	})

	t.Run("there already", func(t *testing.T) {
		again := two.attach(t, host, other, first)
		require.NotEqual(t, path, again)
		require.Equal(t, string(first), get(one, again).body)
		content := []byte("that another pod has stored")
		_ = one.attach(t, host, session, content)
		require.Equal(t, string(content), get(two, two.attach(t, host, other, content)).body)
	})

	t.Run("assets", func(t *testing.T) {
		page := get(one, "/web/login")
		require.Equal(t, 200, page.status)
		bundle := regexp.MustCompile(`/web/assets/[0-9a-f]+/web\.assets_frontend\.min\.css`).FindString(page.body)
		require.NotEmpty(t, bundle)
		style := get(one, bundle)
		require.Equal(t, 200, style.status)
		before := b.attachments(t, db)
		answer := get(two, bundle)
		require.Equal(t, 200, answer.status)
		require.Equal(t, style.body, answer.body)
		require.Equal(t, before, b.attachments(t, db), "it was fetched and not made again")
	})

	t.Run("of others", func(t *testing.T) {
		try := func(p *pool, database, prefix string) IsolationResult {
			results, err := p.client.Isolation(t.Context(), db, []IsolationAttempt{{Door: DoorFilestore, Target: database, Prefix: prefix}})
			require.NoError(t, err)
			return results[0]
		}
		for _, test := range []struct {
			database, prefix string
			want             Reach
		}{
			{db, "", Reached},
			{"fern", "test/fern/", Refused},
			{"fern", filesPrefix, Reached}, // of this group: the token that the pool makes up is its own
			{"fern", "", Unknown},
		} {
			got := try(one, test.database, test.prefix)
			assert.Equal(t, test.want, got.Outcome, "%s %s: %s", test.database, test.prefix, got.Detail)
		}
		g.stop()
		assert.Equal(t, Unknown, try(one, db, "").Outcome)
		assert.Equal(t, Unknown, try(one, "fern", "test/fern/").Outcome)
		g.start(t)
	})

	t.Run("collected", func(t *testing.T) {
		orphan, moved := []byte("of a transaction that was rolled back"), []byte("of an attachment that is deleted")
		one.shell(t, db, fmt.Sprintf("env['ir.attachment'].create({'name': 'x', 'raw': %s})\nenv.cr.rollback()", python(orphan)))
		id := strings.TrimPrefix(one.attach(t, host, session, moved), "/web/content/")
		require.Equal(t, string(moved), get(two, "/web/content/"+id).body)
		one.call(t, host, session, "ir.attachment", "unlink", []any{[]any{json.RawMessage(id)}}, nil)
		require.True(t, g.has(t, db, orphan))
		require.True(t, g.has(t, db, moved))
		marked, err := g.of(db).Marked(t.Context())
		require.NoError(t, err)
		require.Subset(t, marked, []string{storeName(orphan), storeName(moved), storeName(first)})

		job := b.text(t, db, "SELECT res_id FROM ir_model_data WHERE module = 'base' AND name = 'autovacuum_job'")
		collect := func() {
			two.call(t, host, other, "ir.cron", "method_direct_trigger", []any{[]json.RawMessage{json.RawMessage(job)}}, nil)
		}
		config.Generation, config.Tenants[0].GCHold = 2, true
		two.configure(t, config)
		collect()
		require.True(t, g.has(t, db, orphan), "a checkpoint holds it")
		config.Generation, config.Tenants[0].GCHold = 3, false
		two.configure(t, config)
		collect()
		require.False(t, g.has(t, db, orphan))
		require.False(t, g.has(t, db, moved))
		require.True(t, g.has(t, db, first))
		require.NoFileExists(t, filepath.Join(b.dir, two.name+"-data", "filestore", db, storeName(moved)))
		marked, err = g.of(db).Marked(t.Context())
		require.NoError(t, err)
		require.Empty(t, marked)
		named := b.text(t, db, "SELECT count(DISTINCT store_fname) FROM ir_attachment WHERE id > "+inherited+" AND store_fname IS NOT NULL")
		kept := 0
		require.NoError(t, g.of(db).Each(t.Context(), func(string, int64) error { kept++; return nil }))
		require.Equal(t, named, fmt.Sprint(kept), "what the database names is there, and nothing else")

		// The first pod has a copy still, which says nothing of the bucket.
		require.Equal(t, string(moved), get(two, one.attach(t, host, session, moved)).body)
	})

	t.Run("no such file", func(t *testing.T) {
		lost := []byte("that somebody has taken away")
		at := one.attach(t, host, session, lost)
		require.NoError(t, g.of(db).Delete(t.Context(), storeName(lost)))
		require.Equal(t, 500, get(two, at).status, "as Odoo has it")
		require.True(t, two.ready(t, db).Ready)
	})

	t.Run("away", func(t *testing.T) {
		content := bytes.Repeat([]byte("second "), 10000)
		second := one.attach(t, host, session, content)
		csrf := regexp.MustCompile(`csrf_token: "([0-9a-z]+)"`).FindStringSubmatch(two.do(t, "GET", host, "/odoo", other, nil).body)
		require.Len(t, csrf, 2)
		before := b.attachments(t, db)
		g.stop()
		require.Equal(t, string(first), get(two, path).body, "what the pod has used is served")
		require.Equal(t, 200, get(one, second).status)
		refused := func(answer reply) {
			assert.Equal(t, 503, answer.status, answer.body)
			assert.NotEmpty(t, answer.header.Get("Retry-After"))
			assert.Contains(t, answer.body, "try again")
		}
		refused(get(two, second))
		refused(get(two, strings.Replace(second, "content", "image", 1)))
		_, _, answer := two.rpc(t, host, "/web/dataset/call_kw/ir.attachment/read", other, map[string]any{
			"model": "ir.attachment", "method": "read", "kwargs": map[string]any{}, "args": []any{[]any{json.RawMessage(strings.TrimPrefix(second, "/web/content/"))}, []string{"datas"}}})
		refused(answer)
		_, _, answer = two.rpc(t, host, "/web/dataset/call_kw/ir.attachment/create", other, map[string]any{
			"model": "ir.attachment", "method": "create", "kwargs": map[string]any{}, "args": []any{[]any{attachment([]byte("third"))}}})
		refused(answer)
		refused(two.upload(t, host, other, csrf[1], []byte("fourth")))
		require.Equal(t, before, b.attachments(t, db), "nothing was committed")
		said := two.ready(t, db)
		require.False(t, said.Ready)
		require.Contains(t, said.Reason, "object storage")
		require.NotContains(t, said.Reason, "\n")
		require.Equal(t, 200, get(two, "/web/health").status)

		g.start(t)
		eventually(t, 20*time.Second, "files are found again", func() bool { return get(two, second).body == string(content) })
		require.True(t, two.ready(t, db).Ready)
		require.Contains(t, two.upload(t, host, other, csrf[1], []byte("fourth")).body, `"filename"`)
		require.True(t, g.has(t, db, []byte("fourth")))
		require.NotContains(t, one.log()+two.log(), gateway.Token([]byte(filesKey), filesPrefix))
	})
}

// TestUpdateStoresFiles: what an update writes is there when it commits, and where it cannot be, nothing is committed.
func TestUpdateStoresFiles(t *testing.T) {
	b := setup(t)
	g := b.fileGateway(t)
	content := []byte("of an update")
	run := func(db string) (JobResult, int) {
		ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
		defer cancel()
		result, code, log := b.runWith(ctx, "v2", b.update(db), g.file(t), b.net(t))
		t.Log(tail(log))
		return result, code
	}
	t.Run("stored", func(t *testing.T) {
		db := b.database(t)
		b.set(t, db, "wbt.script", "file")
		result, code := run(db)
		require.Equal(t, ExitCommitted, code, result.Error)
		require.True(t, g.has(t, db, content))
	})
	g.stop()
	for mode, want := range map[string]int{"file": ExitFailed, "file swallowed": ExitFailed} {
		t.Run(mode, func(t *testing.T) {
			db := b.database(t)
			b.set(t, db, "wbt.script", mode)
			before := b.digest(t, db)
			result, code := run(db)
			require.Equal(t, want, code, result.Error)
			require.Equal(t, "rolled_back", result.Outcome)
			require.Equal(t, before, b.digest(t, db))
		})
	}
}

// A process that cannot tell where its files are does not start: it would keep them where nobody else finds them.
func TestNoFilesNoStart(t *testing.T) {
	b := setup(t)
	for says, content := range map[string]string{"malformed": `{"protocol": 1}`, "names no gateway": `{"protocol": 1, "url": "ftp://x", "token": "x", "cache": 1}`} {
		for _, role := range []string{"web", "update"} {
			name := b.name("pool")
			args, err := b.container(name, "v1", role, map[string][]byte{OdooConfFile: []byte(odooConf), KeyFile: testKey, FilesFile: []byte(content), JobFile: []byte("{}")}, "--rm", "--network", "none")
			require.NoError(t, err)
			command := []string{"odoo", "-c", ConfigDir + "/" + OdooConfFile}
			if role == "update" {
				command = UpdateCommand(nil)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			out, err := exec.CommandContext(ctx, "docker", append(args, command...)...).CombinedOutput()
			cancel()
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit, "%s: it started:\n%s", role, tail(string(out)))
			require.Equal(t, 1, exit.ExitCode(), string(out))
			require.Contains(t, string(out), "files: /etc/waybill/files.json: "+says)
		}
	}
}

// shell runs Python in a process of its own in the pod, with env.
func (p *pool) shell(t *testing.T, database, script string) {
	t.Helper()
	cmd := exec.Command("docker", "exec", "-i", p.name, "odoo", "shell", "-c", ConfigDir+"/"+OdooConfFile, "-d", database, "--no-http", "--shell-interface=python")
	cmd.Stdin = strings.NewReader(script + "\nprint('shell', 'done')\n")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, tail(string(out)))
	require.Contains(t, string(out), "shell done", tail(string(out)))
}

func python(content []byte) string { return fmt.Sprintf("bytes.fromhex('%x')", content) }

// upload does what Odoo's client does with a file, whose route swallows every error.
func (p *pool) upload(t *testing.T, host, session, csrf string, content []byte) reply {
	t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	for name, value := range map[string]string{"csrf_token": csrf, "model": "res.partner", "id": "1"} {
		require.NoError(t, form.WriteField(name, value))
	}
	part, err := form.CreateFormFile("ufile", "wbt.txt")
	require.NoError(t, err)
	_, err = io.Copy(part, bytes.NewReader(content))
	require.NoError(t, err)
	require.NoError(t, form.Close())
	return p.do(t, "POST", host, "/web/binary/upload_attachment", session, body.String(), "Content-Type", form.FormDataContentType())
}
