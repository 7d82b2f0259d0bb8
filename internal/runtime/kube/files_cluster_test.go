//go:build kube

package kube

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/filestore"
	"github.com/waybill-dev/waybill/internal/runtime"
)

// bucketOnNode is a bucket in memory behind the S3 protocol at an address that pods reach, and its URL.
func bucketOnNode(t *testing.T) (*Filestores, string) {
	t.Helper()
	backend := s3mem.New()
	require.NoError(t, backend.CreateBucket("files"))
	l, err := net.Listen("tcp", net.JoinHostPort(os.Getenv("WAYBILL_KUBE_NODE"), "0"))
	require.NoError(t, err)
	server := &http.Server{Handler: gofakes3.New(backend).Server(), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	env := map[string]string{"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "pa55word"}
	for name, value := range env {
		t.Setenv(name, value)
	}
	at := "s3://files?endpoint=http://" + l.Addr().String() + "&region=us-east-1&use_path_style=true"
	bucket, err := filestore.OpenBucket(t.Context(), at)
	require.NoError(t, err)
	t.Cleanup(func() { _ = bucket.Close() })
	return &Filestores{Bucket: bucket, URL: at, Env: env}, l.Addr().String()
}

func fileOf(database, content string) string {
	sum := sha1.Sum([]byte(content))
	name := hex.EncodeToString(sum[:])
	return "/v1/" + database + "/" + name[:2] + "/" + name
}

// TestFilestoresInABucket has pods that share no folder: what one has written another reads, of its own group only; a job's results come
// out; a rehearsal sees its copy and nothing else.
func TestFilestoresInABucket(t *testing.T) {
	image := pushStandIn(t)
	files, at := bucketOnNode(t)
	r, _ := setup(t, image, func(o *Options) { o.Volume, o.DataDir, o.Filestores = "", "", files })
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	require.NoError(t, r.Check(ctx))
	t.Cleanup(func() {
		require.NoError(t, r.SweepRehearsals(context.WithoutCancel(t.Context()), isOver))
		require.NoError(t, r.RemoveEnvironment(context.WithoutCancel(t.Context()), "production"))
	})
	_, err := r.EnsurePool(ctx, runtime.Pool{Environment: "production", Name: "early", Image: image})
	require.ErrorContains(t, err, "no gateway to its filestores yet")
	env := runtime.Environment{Name: "production", HTTP: freeNodePort(t)}
	require.NoError(t, r.EnsureEnvironment(ctx, env))

	pages := map[string]string{}
	for name, group := range map[string]string{"old": sharedGroup, "new": sharedGroup, "east": "east"} {
		state, err := r.EnsurePool(ctx, runtime.Pool{Environment: "production", Name: name, Group: group, Image: image, Files: runtime.Files{"pool.json": []byte("{}")}})
		require.NoError(t, err)
		pages[name] = state.Bridge
	}
	ask := func(pool, method, path, body string) string {
		status, answer := inside(ctx, t, fmt.Sprintf("%s/files%s?method=%s&body=%s", pages[pool], path, method, body))
		require.Equal(t, http.StatusOK, status)
		return answer
	}
	invoice := fileOf("acme", "invoice")
	require.Equal(t, "201", ask("old", "PUT", invoice, "invoice"))
	require.Equal(t, "200", ask("new", "PUT", invoice, "invoice"), "it is there already")
	require.Equal(t, "200 invoice", ask("new", "GET", invoice, ""))
	require.True(t, strings.HasPrefix(ask("old", "PUT", fileOf("acme", "forged"), "invoice"), "422"), "that is not its content")
	require.True(t, strings.HasPrefix(ask("east", "GET", invoice, ""), "404"), "another group's")
	// A path leads nowhere else.
	for _, path := range []string{strings.Replace(invoice, "acme", "..%252Fshared%252Facme", 1), strings.Replace(invoice, "acme", "%252E%252E", 1)} {
		require.NotContains(t, ask("east", "GET", path, ""), "invoice")
	}
	store := r.Filestore("production", sharedGroup, "acme")
	content, _, err := store.Open(ctx, strings.TrimPrefix(invoice, "/v1/acme/"))
	require.NoError(t, err, "the server reads it from the bucket")
	read, err := io.ReadAll(content)
	require.NoError(t, err)
	require.NoError(t, content.Close())
	require.Equal(t, "invoice", string(read))
	_, look := inside(ctx, t, pages["old"]+"/look")
	require.NotContains(t, look, "pa55word")
	require.NotContains(t, look, "AWS_")

	t.Run("a job's results", func(t *testing.T) {
		run := func(start func(context.Context, runtime.Job) error, wait func(context.Context, string, string) (runtime.JobState, error), name string, command ...string) runtime.JobState {
			require.NoError(t, start(ctx, runtime.Job{Environment: "production", Name: name, Image: image, Command: append([]string{"odoo", "job"}, command...),
				Files: runtime.Files{"job.json": []byte(`{"promotion": "p1"}`)}}))
			state, err := wait(ctx, "production", name)
			require.NoError(t, err)
			return state
		}
		state := run(r.StartJob, r.WaitJob, "ok", "ok")
		require.Zero(t, state.ExitCode, state.Log)
		require.Equal(t, runtime.Files{"result.json": []byte(`{"promotion": "p1"}`), "role": []byte("update")}, state.Out)
		require.Len(t, run(r.StartJob, r.WaitJob, "big", "big").Out["big"], 1<<20)
		require.Equal(t, 11, run(r.StartJob, r.WaitJob, "fails", "fail", "11").ExitCode)
		require.Equal(t, "200 invoice", string(run(r.StartJob, r.WaitJob, "reads", "files", "GET", invoice, "").Out["result.json"]))
		for _, name := range []string{"ok", "big", "fails", "reads"} {
			require.NoError(t, r.RemoveJob(ctx, "production", name))
		}

		l, err := net.Listen("tcp", net.JoinHostPort(os.Getenv("WAYBILL_KUBE_NODE"), "0"))
		require.NoError(t, err)
		defer l.Close()
		h, err := r.Rehearsal(ctx, "files", netip.MustParseAddrPort(l.Addr().String()), t.TempDir())
		require.NoError(t, err)
		copied := h.Filestore("", sharedGroup, "acme")
		name := strings.TrimPrefix(invoice, "/v1/acme/")
		_, err = copied.Add(ctx, name, 7, func(w io.Writer) error { _, err := io.WriteString(w, "invoice"); return err })
		require.NoError(t, err)
		require.Equal(t, "200 invoice", string(run(h.StartJob, h.WaitJob, "reads", "files", "GET", invoice, "").Out["result.json"]))
		require.Equal(t, "201", string(run(h.StartJob, h.WaitJob, "writes", "files", "PUT", fileOf("acme", "icon"), "icon").Out["result.json"]))
		_, err = copied.Stat(ctx, strings.TrimPrefix(fileOf("acme", "icon"), "/v1/acme/"))
		require.NoError(t, err)
		_, err = store.Stat(ctx, strings.TrimPrefix(fileOf("acme", "icon"), "/v1/acme/"))
		require.ErrorIs(t, err, os.ErrNotExist, "production's are not touched")
		gateway, err := r.serviceAddress(ctx, r.namespace("production", sharedGroup), filesName, gatewayPort)
		require.NoError(t, err)
		require.Equal(t, l.Addr().String(), string(run(h.StartJob, h.WaitJob, "dials", "dial", l.Addr().String(), gateway, at).Out["result.json"]))
		require.NoError(t, h.RemoveEnvironment(ctx, ""))
		require.NoError(t, h.Close())
	})

	// The gateway is two pods: one that goes is not missed for long.
	pods, err := r.podsOf(ctx, r.namespace("production", sharedGroup), labels{labelRole: roleFiles})
	require.NoError(t, err)
	require.Len(t, pods, 2)
	require.NoError(t, r.remove(ctx, kindPod, pods[0].Namespace, pods[0].Name))
	require.NoError(t, until(ctx, "the gateway answers again", func() (bool, error) { return ask("new", "GET", invoice, "") == "200 invoice", nil }))

	// Other credentials: its pods read them once, and are replaced. The key stays, so that no pool is locked out.
	files.Env["AWS_SESSION_TOKEN"] = "another"
	require.NoError(t, r.EnsureEnvironment(ctx, env))
	require.Equal(t, "200 invoice", ask("old", "GET", invoice, ""))

	require.NoError(t, r.RemoveEnvironment(ctx, "production"))
	left, err := r.Leftovers(ctx)
	require.NoError(t, err)
	require.Empty(t, left)
	_, err = store.Stat(ctx, strings.TrimPrefix(invoice, "/v1/acme/"))
	require.NoError(t, err, "whoever takes an environment away never takes its data")
}
