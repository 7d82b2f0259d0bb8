package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/identity"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/store"
)

// told is an event as a client has it.
type told struct{ id, event, data string }

// listener is a client that has opened a stream.
type listener struct {
	t      testing.TB
	cancel context.CancelFunc
	events chan told
}

func (b *bench) listen(token, query, after string) *listener {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.t.Context())
	b.t.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url+"/api/v1/events"+query, nil)
	require.NoError(b.t, err)
	request.Header.Set("Authorization", "Bearer "+token)
	if after != "" {
		request.Header.Set("Last-Event-ID", after)
	}
	response, err := http.DefaultClient.Do(request)
	require.NoError(b.t, err)
	require.Equal(b.t, http.StatusOK, response.StatusCode)
	require.Equal(b.t, "text/event-stream", response.Header.Get("Content-Type"))
	l := &listener{t: b.t, cancel: cancel, events: make(chan told, 10_000)}
	go func() {
		defer func() { _ = response.Body.Close() }()
		defer close(l.events)
		var e told
		lines := bufio.NewScanner(response.Body)
		for lines.Scan() {
			field, value, _ := strings.Cut(lines.Text(), ": ")
			switch field {
			case "id":
				e.id = value
			case "event":
				e.event = value
			case "data":
				e.data = value
			case "":
				if e.event != "" {
					l.events <- e
				}
				e = told{}
			}
		}
	}()
	return l
}

// next is the next event of a kind, or of any; closed streams have none.
func (l *listener) next(kind string) told {
	l.t.Helper()
	for {
		select {
		case e, open := <-l.events:
			require.True(l.t, open, "the stream has ended, and no event %s came", kind)
			if kind == "" || e.event == kind {
				return e
			}
		case <-time.After(20 * time.Second):
			require.FailNow(l.t, "no event "+kind+" came")
		}
	}
}

// ended waits until the stream is closed.
func (l *listener) ended() {
	l.t.Helper()
	for {
		select {
		case _, open := <-l.events:
			if !open {
				return
			}
		case <-time.After(20 * time.Second):
			require.FailNow(l.t, "the stream goes on")
		}
	}
}

// begun starts a promotion with one rollout, as the store sees it.
func (b *bench) begun(id, environment, tenant string) {
	b.t.Helper()
	ctx := b.t.Context()
	require.NoError(b.t, b.state.In(ctx, func(tx pgx.Tx) error {
		return b.state.CreatePromotion(ctx, tx, store.Promotion{ID: id, Kind: "promote", Environment: environment, Release: "sha256:" + id, ReleaseName: "n" + id, RequestedBy: "somebody",
			Options: json.RawMessage("{}"), Estate: json.RawMessage("{}")}, []store.Rollout{{ID: "r" + id, Environment: environment, Tenant: tenant, Memory: json.RawMessage("{}")}})
	}))
	b.t.Cleanup(func() {
		_, err := b.state.Pool.Exec(context.Background(), "update rollouts set state = 'done' where promotion_id = $1", id)
		require.NoError(b.t, err)
	})
}

func TestStreamTellsWhatWhoAsksMaySee(t *testing.T) {
	b := setup(t)
	b.declare(user("tess", estate.RoleViewer, "test"), user("vera", estate.RoleViewer))
	b.settle()
	all, test := b.listen(b.token("vera"), "", ""), b.listen(b.token("tess"), "", "")
	hello := all.next("")
	require.Equal(t, "hello", hello.event)
	require.NotEmpty(t, hello.id)
	require.JSONEq(t, `{"version":"test","resumed":false}`, hello.data)
	test.next("hello")

	b.begun("pstream1", "production", "acme-stream")
	ctx := t.Context()
	r, ok, err := b.state.Acquire(ctx, "rpstream1", 0, "me", time.Minute)
	require.NoError(t, err)
	require.True(t, ok)
	_, err = b.state.BeginStep(ctx, store.Lease{Rollout: r.ID, Epoch: r.Epoch}, "checkpoint", false, 2)
	require.NoError(t, err)
	var e store.PromotionEvent
	for e.Step != "checkpoint" || e.Promotion != "pstream1" {
		told := all.next("promotion")
		require.NotEmpty(t, told.id)
		require.NoError(t, json.Unmarshal([]byte(told.data), &e))
	}
	require.Equal(t, "acme-stream", e.Tenant)
	require.Equal(t, "running", e.StepOutcome)
	revision, err := b.state.Revision(ctx, "pstream1")
	require.NoError(t, err)
	require.Equal(t, revision, e.Revision)

	require.NoError(t, b.state.In(ctx, func(tx pgx.Tx) error {
		if err := b.state.PutApproval(ctx, tx, store.Approval{ID: "a-stream", PromotionID: "pstream1", Decision: store.Approve, Person: "bert", Saw: map[string]string{}, ExpiresAt: b.now}); err != nil {
			return err
		}
		return b.state.Announce(ctx, tx, store.Notice{Key: "stream", Event: "waiting", Environment: "production", Data: json.RawMessage(`{"key":"stream","title":"somebody is needed"}`)})
	}))
	require.JSONEq(t, `{"promotion":"pstream1","environment":"production","decision":"approve","person":"bert"}`, all.next("approval").data)
	require.Contains(t, all.next("notification").data, "somebody is needed")
	require.NoError(t, b.state.PutTenant(ctx, store.Tenant{Environment: "production", Name: "streamed", Database: "streamed", Hosts: []string{}}))
	require.JSONEq(t, `{"environment":"production"}`, all.next("environment").data)
	require.NoError(t, b.state.PutRehearsal(ctx, store.Rehearsal{ID: "rstream", Environment: "production", Tenant: "acme", Release: "sha256:1", RequestedBy: "bert"}))
	require.Contains(t, all.next("rehearsal").data, `"rehearsal":"rstream"`)

	// Who sees test alone has heard of nothing so far: what comes next for them is what concerns everybody.
	require.NoError(t, b.state.PutRelease(ctx, release.Release{Digest: "sha256:stream", Repository: "acme", Name: "streamed"}))
	require.JSONEq(t, `{"digest":"sha256:stream","name":"streamed"}`, test.next("").data)
	require.JSONEq(t, `{"digest":"sha256:stream","name":"streamed"}`, all.next("release").data)
}

// That the ledger has grown is told to those who may read it, once for what was chained together.
func TestStreamTellsOfTheLedger(t *testing.T) {
	b := setup(t)
	b.declare(user("vera", estate.RoleViewer), user("aud", estate.RoleAuditor))
	b.ask("the-owner's", "GET", "/api/v1/ledger/heads", nil) // chains what earlier tests have written
	b.settle()
	auditor, viewer := b.listen(b.token("aud"), "", ""), b.listen(b.token("vera"), "", "")
	auditor.next("hello")
	viewer.next("hello")
	for range 3 {
		require.NoError(t, ledger.Record(t.Context(), b.state.Pool, ledger.Event{Kind: "server.started"}))
	}
	b.ask("the-owner's", "GET", "/api/v1/ledger/heads", nil)
	var e store.LedgerEvent
	require.NoError(t, json.Unmarshal([]byte(auditor.next("ledger").data), &e))
	var newest []LedgerEntry
	b.ask("the-owner's", "GET", "/api/v1/ledger?limit=1", nil).into(t, &newest)
	require.Equal(t, newest[0].Sequence, e.Sequence)
	require.NoError(t, b.state.PutRelease(t.Context(), release.Release{Digest: "sha256:ledgered", Repository: "acme", Name: "ledgered"}))
	require.Equal(t, "release", auditor.next("").event)
	require.Equal(t, "release", viewer.next("").event, "who may not read the ledger hears nothing of it")
}

func TestStreamGoesOnWhereItWas(t *testing.T) {
	b := setup(t)
	first := b.listen("the-owner's", "?promotion=presume1", "")
	id := first.next("hello").id
	b.begun("presume1", "production", "acme-resume")
	id2 := first.next("promotion").id
	first.cancel()
	first.ended()
	_, err := b.state.Pool.Exec(t.Context(), "update rollouts set revision = revision + 7 where id = 'rpresume1'")
	require.NoError(t, err)
	b.settle()

	again := b.listen("the-owner's", "?promotion=presume1", id)
	require.JSONEq(t, `{"version":"test","resumed":true}`, again.next("").data)
	missed := again.next("")
	require.Equal(t, id2, missed.id)
	require.Contains(t, again.next("").data, `"revision":7`)
	// The same for who cannot set a header.
	require.Equal(t, missed, b.skip(b.listen("the-owner's", "?promotion=presume1&after="+id, ""), 1).next(""))

	for _, unknown := range []string{"nonsense", "1-zz", strings.Split(id, "-")[0] + "-0", "99999999999-1", "-", "9223372036854775808-1"} {
		reset := b.listen("the-owner's", "?promotion=presume1", unknown)
		require.Equal(t, "reset", reset.next("").event, unknown)
		require.Contains(t, reset.next("").data, `"resumed":false`)
	}
	limited := b.listen("the-owner's", "?limit=1", "")
	limited.next("hello")
	limited.ended()
}

// settle numbers what earlier tests have changed.
func (b *bench) settle() {
	b.t.Helper()
	for more, err := true, error(nil); more; {
		more, err = b.state.PublishEvents(b.t.Context())
		require.NoError(b.t, err)
	}
}

func (b *bench) skip(l *listener, n int) *listener {
	for range n {
		l.next("")
	}
	return l
}

func TestStreamEndsWithTheToken(t *testing.T) {
	b := setup(t)
	b.declare(user("vera", estate.RoleViewer))
	token := b.token("vera")
	l := b.listen(token, "", "")
	l.next("hello")
	id := strings.Split(token, "_")[1]
	require.Equal(t, http.StatusOK, b.ask("the-owner's", "DELETE", "/api/v1/tokens/"+id, nil).status)
	end := l.next("end")
	require.Contains(t, end.data, `"reason":"denied"`)
	require.Contains(t, end.data, "was revoked at")
	l.ended()
}

func TestStreamsEndWithTheServer(t *testing.T) {
	b := setup(t)
	l := b.listen("the-owner's", "", "")
	l.next("hello")
	b.backend.Events.Close()
	require.Contains(t, l.next("end").data, `"reason":"stopping"`)
	l.ended()
	require.Equal(t, http.StatusServiceUnavailable, b.ask("the-owner's", "GET", "/api/v1/events", nil).status)
}

// A client that does not read is cut off, and keeps nobody else waiting; one that reads late finds out why.
func TestSlowClientIsCut(t *testing.T) {
	b := setup(t)
	e := b.backend.Events
	w, err := e.watch(t.Context(), "slow")
	require.NoError(t, err)
	other, err := e.watch(t.Context(), "quick")
	require.NoError(t, err)
	defer e.leave(other)
	for i := range eventsBuffer + 1 {
		e.give([]*message{{Event: store.Event{Seq: w.from.Seq, At: w.from.At, Topic: store.TopicEstate, Data: json.RawMessage("{}")}}})
		select {
		case <-other.events:
		default:
			require.Fail(t, "not told", i)
		}
	}
	<-w.cut
	require.Len(t, e.of, 1)
	out := &recorder{}
	s := &stream{Backend: b.backend, ctx: t.Context(), in: &streamInput{}, asking: &asking{person: identity.Local("root")}, out: out, control: http.NewResponseController(out), sees: map[string]bool{}}
	for len(w.events) > 0 { // what had been on its way when it was cut
		<-w.events
	}
	s.run(w, nil, false)
	require.Contains(t, out.text.String(), "event: end\ndata: {\"reason\":\"slow\"")
}

// A client that opens a stream and never reads from it: what waits for it is bounded, its request ends when it has taken nothing for a while,
// and whoever reads is told all the time.
func TestClientThatNeverReads(t *testing.T) {
	b := setup(t)
	e := b.backend.Events
	e.patience = time.Second
	open := &inFlight{}
	b.backend.Counter = open
	server := httptest.NewServer(Handler(b.backend))
	t.Cleanup(server.Close)
	b.url = server.URL
	reads := b.listen("the-owner's", "", "")
	reads.next("hello")
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(b.url, "http://"))
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	_, err = fmt.Fprintf(conn, "GET /api/v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer the-owner's\r\n\r\n")
	require.NoError(t, err)
	require.Eventually(t, func() bool { return e.watching() == 2 }, 20*time.Second, time.Millisecond)
	x := store.Event{Topic: store.TopicEstate, Data: json.RawMessage(`{"commit":"` + strings.Repeat("x", 16<<10) + `"}`)}
	e.mu.Lock()
	x.Seq, x.At = e.newest.Seq, e.newest.At
	e.mu.Unlock()
	text, sent := textOf(x), 0
	for ; e.watching() == 2; sent += len(text) { // until the buffers are full: the kernel's, and ours
		require.Less(t, sent, 64<<20, "a client that never reads is sent more and more")
		e.give([]*message{{x, text}})
		require.Len(t, reads.next("estate").data, len(x.Data))
	}
	t.Logf("cut off after %d kB", sent>>10)
	require.Eventually(t, func() bool { return open.now.Load() == 1 }, 20*time.Second, 10*time.Millisecond, "its request goes on")
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(20*time.Second)))
	_, err = io.Copy(io.Discard, conn)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "its connection is open still")
	e.give([]*message{{x, text}})
	reads.next("estate")
}

// watching is how many streams there are.
func (e *Events) watching() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.watches)
}

// inFlight counts requests that go on.
type inFlight struct{ now atomic.Int64 }

func (i *inFlight) InFlight(change int)                      { i.now.Add(int64(change)) }
func (i *inFlight) Request(string, int, time.Duration, bool) {}

// recorder is a connection that keeps what was written.
type recorder struct {
	http.ResponseWriter
	text strings.Builder
}

func (r *recorder) Header() http.Header              { return http.Header{} }
func (r *recorder) Write(p []byte) (int, error)      { return r.text.Write(p) }
func (r *recorder) Flush()                           {}
func (r *recorder) SetWriteDeadline(time.Time) error { return nil }

func TestStreamsAreBounded(t *testing.T) {
	b := setup(t)
	e := b.backend.Events
	for range streamsOfOne {
		w, err := e.watch(t.Context(), "local:root")
		require.NoError(t, err)
		defer e.leave(w)
	}
	require.Equal(t, http.StatusTooManyRequests, b.ask("the-owner's", "GET", "/api/v1/events", nil).status)
	w, err := e.watch(t.Context(), "somebody else")
	require.NoError(t, err)
	e.leave(w)
}

// Streams on which nothing happens cost little, keep nobody waiting, and hear of what does happen.
func TestThousandsOfIdleStreams(t *testing.T) {
	long.Test(t)
	const streams = 2000
	b := setup(t)
	users := []estate.User{user("idle0", estate.RoleViewer), user("idle1", estate.RoleViewer), user("idle2", estate.RoleViewer)}
	b.declare(users...)
	tokens := []string{b.token("idle0"), b.token("idle1"), b.token("idle2")}
	inUse := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	before := inUse()
	address := strings.TrimPrefix(b.url, "http://")
	readers := make([]*bufio.Reader, streams)
	for i := range readers {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		require.NoError(t, conn.SetDeadline(time.Now().Add(5*time.Minute)))
		_, err = fmt.Fprintf(conn, "GET /api/v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", tokens[i%len(tokens)])
		require.NoError(t, err)
		readers[i] = bufio.NewReaderSize(conn, 16)
		until(t, readers[i], "event: hello")
	}
	each := (inUse() - before) / streams
	t.Logf("%d streams, %d KB each, both ends", streams, each>>10)
	require.Less(t, each, uint64(128<<10))
	require.Equal(t, http.StatusOK, b.ask("the-owner's", "GET", "/api/v1/status", nil).status)
	require.NoError(t, b.state.PutRelease(t.Context(), release.Release{Digest: "sha256:idle", Repository: "acme", Name: "idle"}))
	for _, r := range readers {
		until(t, r, "event: release")
	}
}

func until(t *testing.T, r *bufio.Reader, line string) {
	t.Helper()
	for {
		text, err := r.ReadString('\n')
		require.NoError(t, err)
		if strings.TrimSpace(text) == line {
			return
		}
	}
}
