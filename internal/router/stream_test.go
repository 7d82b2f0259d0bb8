package router

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// countingReader gives zeros and counts how many were taken.
type countingReader struct {
	left  int64
	count atomic.Int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), c.left)
	clear(p[:n])
	c.left -= n
	c.count.Add(n)
	return int(n), nil
}

func TestBigUploadStreams(t *testing.T) {
	r := newRig(t)
	const size = 512 << 20
	begun := make(chan struct{})
	old := upstream(t, "old", func(w http.ResponseWriter, q *http.Request) {
		buf := make([]byte, 1)
		_, _ = io.ReadFull(q.Body, buf)
		close(begun) // while the client has most of it still before it
		n, err := io.Copy(io.Discard, q.Body)
		_, _ = fmt.Fprint(w, n+1, err)
	})
	r.apply(Tenant{Stable: old})
	var before, peak runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	body := &countingReader{left: size}
	req, err := http.NewRequest(http.MethodPost, r.url("/upload"), body)
	require.NoError(t, err)
	req.Host, req.ContentLength = host, size
	done := make(chan answerOf, 1)
	go func() {
		res, err := client1.Do(req)
		if err != nil {
			done <- answerOf{err: err}
			return
		}
		data, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		done <- answerOf{status: res.StatusCode, body: string(data), err: err}
	}()
	<-begun
	require.Less(t, body.count.Load(), int64(size/2), "the pool gets it while it is sent")
	a := <-done
	require.NoError(t, a.err)
	require.Equal(t, fmt.Sprint(size, nil), a.body)
	runtime.ReadMemStats(&peak)
	require.Less(t, peak.TotalAlloc-before.TotalAlloc, uint64(size/8), "client, router and pool together allocate far less than passes")
}

func TestAnswersStream(t *testing.T) {
	r := newRig(t)
	more := make(chan struct{})
	old := upstream(t, "old", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "first\n")
		_ = http.NewResponseController(w).Flush()
		<-more
		_, _ = io.WriteString(w, "second\n")
	})
	r.apply(Tenant{Stable: old})
	req, err := http.NewRequest(http.MethodGet, r.url("/report"), nil)
	require.NoError(t, err)
	req.Host = host
	res, err := client1.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	line, err := lines.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "first\n", line)
	require.Equal(t, 1, r.stats().InFlight)
	close(more)
	line, err = lines.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "second\n", line)
	r.eventually("over", func() bool { return r.stats().InFlight == 0 })
}

// A client that sends its request byte by byte, and takes its answer so, is served like others.
func TestSlowClients(t *testing.T) {
	r := newRig(t)
	old := upstream(t, "old", func(w http.ResponseWriter, q *http.Request) { _, _ = io.Copy(w, q.Body) })
	r.apply(Tenant{Stable: old})
	conn, err := net.Dial("tcp", r.server.http.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	for _, b := range []byte("POST /x HTTP/1.1\r\nHost: acme.test\r\nContent-Length: 300\r\n\r\n" + strings.Repeat("y", 300)) {
		_, err := conn.Write([]byte{b})
		require.NoError(t, err)
	}
	res, err := http.ReadResponse(bufio.NewReaderSize(conn, 16), nil)
	require.NoError(t, err)
	data, err := io.ReadAll(io.MultiReader(io.LimitReader(res.Body, 1), res.Body))
	require.NoError(t, err)
	require.Equal(t, strings.Repeat("y", 300), string(data))

	// One that leaves in the middle of its upload is no failure of the pool.
	conn2, err := net.Dial("tcp", r.server.http.Addr().String())
	require.NoError(t, err)
	_, err = io.WriteString(conn2, "POST /x HTTP/1.1\r\nHost: acme.test\r\nContent-Length: 300\r\n\r\nyyy")
	require.NoError(t, err)
	r.eventually("on its way", func() bool { return r.stats().InFlight == 1 })
	require.NoError(t, conn2.Close())
	r.eventually("over", func() bool { return r.stats().InFlight == 0 })
	require.Zero(t, r.pool("old").Failed)
}

func TestPoolBreaks(t *testing.T) {
	r := newRig(t)
	old := upstream(t, "old", func(w http.ResponseWriter, q *http.Request) {
		switch q.URL.Path {
		case "/500":
			w.WriteHeader(http.StatusInternalServerError)
			return
		case "/404":
			w.WriteHeader(http.StatusNotFound)
			return
		case "/half":
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
		}
		panic(http.ErrAbortHandler)
	})
	r.apply(Tenant{Stable: old})

	require.Equal(t, http.StatusInternalServerError, r.get("/500").status)
	require.Equal(t, http.StatusNotFound, r.get("/404").status)
	a := r.do(http.MethodPost, "/none", "x")
	require.Equal(t, http.StatusBadGateway, a.status)
	require.Contains(t, a.body, "closed the connection")
	require.Error(t, r.get("/half").err, "half an answer must not look like a whole one")
	r.eventually("all are counted", func() bool { return r.pool("old").Requests == 4 })
	p := r.pool("old")
	require.EqualValues(t, 3, p.Failed)
	require.Equal(t, map[string]int64{"2xx": 1, "4xx": 1, "5xx": 2}, p.ByClass)
	n := int64(0)
	for _, c := range p.Latency {
		n += c
	}
	require.EqualValues(t, 4, n)
	require.Positive(t, p.Seconds)
}

// Who only asks is asked again, once, when the pool hangs up without a word; who orders is not.
func TestPoolThatHangsUp(t *testing.T) {
	r := newRig(t)
	var calls atomic.Int64
	old := upstream(t, "old", func(w http.ResponseWriter, q *http.Request) {
		if calls.Add(1); calls.Load() == 1 || q.URL.Path == "/always" {
			panic(http.ErrAbortHandler)
		}
		hello(w, q)
	})
	r.apply(Tenant{Stable: old})
	require.Equal(t, http.StatusOK, r.get("/").status)
	require.EqualValues(t, 2, calls.Load())
	require.Equal(t, http.StatusBadGateway, r.get("/always").status)
	require.EqualValues(t, 4, calls.Load())
	require.Equal(t, http.StatusBadGateway, r.do(http.MethodPost, "/always", "order").status)
	require.EqualValues(t, 5, calls.Load())
	p := r.pool("old")
	require.EqualValues(t, 3, p.Requests, "a request is counted once")
	require.EqualValues(t, 2, p.Failed)
}

// A pool that restarts, or gets another address, makes requests late, and fails none.
func TestPoolThatRestarts(t *testing.T) {
	r := newRig(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	pool := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { _, _ = io.Copy(w, q.Body) })}
	go func() { _ = pool.Serve(l) }()
	r.apply(Tenant{Stable: Upstream{Pool: "old", Web: address}})
	for range 5 { // connections that the restart makes stale
		require.Equal(t, http.StatusOK, r.get("/").status)
		require.Equal(t, "x", r.do(http.MethodPost, "/", "x").body)
	}
	require.NoError(t, pool.Close())

	answers := make(chan answerOf, 40)
	for i := range 40 {
		go func() {
			if i%2 == 0 {
				answers <- r.get("/")
			} else {
				answers <- r.do(http.MethodPost, "/", "body")
			}
		}()
	}
	r.eventually("they knock", func() bool { return r.server.control.proxy.retried.Load() >= 40 })
	l, err = net.Listen("tcp", address)
	require.NoError(t, err)
	pool = &http.Server{Handler: pool.Handler}
	t.Cleanup(func() { _ = pool.Close() })
	go func() { _ = pool.Serve(l) }()
	bodies := map[string]int{}
	for range 40 {
		a := <-answers
		require.NoError(t, a.err)
		require.Equal(t, http.StatusOK, a.status)
		bodies[a.body]++
	}
	require.Equal(t, map[string]int{"": 20, "body": 20}, bodies)
	require.Zero(t, r.pool("old").Failed)
}

func TestPoolThatIsNotThere(t *testing.T) {
	r := newRig(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	r.server.control.proxy.refusedBudget = 100 * time.Millisecond
	r.apply(Tenant{Stable: Upstream{Pool: "old", Web: l.Addr().String()}})
	a := r.do(http.MethodPost, "/", "body")
	require.Equal(t, http.StatusBadGateway, a.status)
	require.Contains(t, a.body, "Nothing was sent")
	require.Contains(t, r.get("/", asPerson).header.Get("Content-Type"), "text/html")
	p := r.pool("old")
	require.EqualValues(t, 2, p.Failed)
	require.EqualValues(t, 2, p.ByClass["5xx"])

	// Who waits for a pool that is away goes where the next table says.
	r.server.control.proxy.refusedBudget = time.Hour
	answers := make(chan answerOf, 1)
	go func() { answers <- r.do(http.MethodPost, "/", "body") }()
	before := r.server.control.proxy.retried.Load()
	r.eventually("it knocks", func() bool { return r.server.control.proxy.retried.Load() > before })
	r.apply(Tenant{Stable: upstream(t, "new", hello)})
	require.Equal(t, "new", (<-answers).pool)
}

// A pool that stops closes kept connections, which shows only when the next request is on its way.
// What cannot be repeated must not be sent on one.
func TestPostsGoOverFreshConnections(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				in := bufio.NewReader(conn)
				if q, err := http.ReadRequest(in); err == nil {
					_, _ = io.Copy(io.Discard, q.Body)
					_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
					_, _ = http.ReadRequest(in) // a second one, and not a word to it
				}
			}()
		}
	}()
	r := newRig(t)
	r.apply(Tenant{Stable: Upstream{Pool: "old", Web: l.Addr().String()}})
	for range 5 {
		require.Equal(t, "ok", r.get("/").body)
		require.Equal(t, "ok", r.do(http.MethodPost, "/", "order").body)
	}
	require.Zero(t, r.pool("old").Failed)
}
