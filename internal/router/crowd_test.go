package router

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/long"
)

// prefork is a pool as Odoo with workers is one: a backlog of eight connections a worker, one
// connection a worker at a time, HTTP/1.0, closed after each answer, and a client that is slow to
// ask is hung up on.
func prefork(t *testing.T, workers int, work time.Duration) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	require.NoError(t, syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	require.NoError(t, syscall.Listen(fd, 8*workers))
	file := os.NewFile(uintptr(fd), "prefork")
	l, err := net.FileListener(file)
	require.NoError(t, err)
	require.NoError(t, file.Close())
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	for range workers {
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
				if q, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					body, _ := io.ReadAll(q.Body)
					<-time.After(work)
					_, _ = fmt.Fprintf(conn, "HTTP/1.0 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(body), body)
				}
				_ = conn.Close()
			}
		}()
	}
	return l.Addr().String()
}

// A hold that ends lets far more requests go than Odoo's backlog takes. All are served.
func TestHoldEndsInACrowd(t *testing.T) {
	long.Test(t)
	r := newRig(t)
	old := Upstream{Pool: "old", Web: prefork(t, 2, 10*time.Millisecond)}
	r.apply(Tenant{Mode: Hold, HoldUntil: time.Now().Add(time.Hour), Stable: old})
	const clients = 400
	answers := make(chan answerOf, clients)
	for i := range clients {
		go func() {
			if i%2 == 0 {
				answers <- r.get("/")
				return
			}
			answers <- r.do(http.MethodPost, "/", fmt.Sprint("order ", i))
		}()
	}
	r.eventually("all wait", func() bool { return r.stats().Held == clients })
	began := time.Now()
	r.apply(Tenant{Stable: old})
	bodies := map[string]int{}
	for range clients {
		a := <-answers
		require.NoError(t, a.err)
		require.Equal(t, http.StatusOK, a.status, a.body)
		bodies[a.body]++
	}
	require.Len(t, bodies, clients/2+1)
	require.Equal(t, clients/2, bodies[""])
	p := r.pool("old")
	require.EqualValues(t, clients, p.Requests)
	require.Zero(t, p.Failed)
	t.Logf("%d requests in %s; two workers need %s", clients, time.Since(began), clients/2*10*time.Millisecond)
}
