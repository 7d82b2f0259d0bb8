package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/internal/filestore"
)

// put takes a file. Of one that is there already too the content is read to its end: a client that is still writing would not see the answer.
func (g *Gateway) put(q *request) error {
	size := q.r.ContentLength
	switch {
	case size < 0:
		return refuse(http.StatusLengthRequired, "say with Content-Length how large it is")
	case size > g.Limit:
		return refuse(http.StatusRequestEntityTooLarge, "%d bytes are more than the %d that a file may have", size, g.Limit)
	}
	ctx, cancel := context.WithCancelCause(q.r.Context())
	defer cancel(nil)
	done, err := g.uploads.take(ctx, q.prefix)
	if err != nil {
		return err
	}
	defer done()
	connection := http.NewResponseController(q.w)
	deadline := time.Now().Add(patience(size))
	_ = connection.SetReadDeadline(deadline)
	_ = connection.SetWriteDeadline(deadline.Add(grace))
	late := time.AfterFunc(time.Until(deadline)+answers, func() { cancel(errSilent) })
	defer late.Stop()
	// The bucket has its time before and after the content, whose own depends on the client.
	silent := time.AfterFunc(answers, func() { cancel(errSilent) })
	defer silent.Stop()
	body := &body{r: q.r.Body}
	added, err := q.store.Add(ctx, q.name, size, func(w io.Writer) error {
		silent.Stop()
		defer silent.Reset(answers)
		_, err := io.Copy(w, body)
		return err
	})
	silent.Stop()
	if err == nil {
		_, err = io.Copy(io.Discard, body)
	}
	if body.err != nil { // cut off, or too slow: nobody is there to be answered
		g.Log.Debug("an upload was cut off", "path", q.r.URL.Path, "err", body.err)
		panic(http.ErrAbortHandler)
	}
	if err != nil {
		return err
	}
	_ = connection.SetReadDeadline(time.Time{})
	switch added {
	case filestore.New:
		q.w.WriteHeader(http.StatusCreated)
	case filestore.Conflict:
		g.Log.Error("a file stands where one of another size should be", "path", q.r.URL.Path, "bytes", size)
		return refuse(http.StatusConflict, "something else of another size is there")
	}
	return nil
}

// body is what a client sends, and remembers that it broke off: whose fault it was that a file was not stored.
type body struct {
	r   io.Reader
	err error
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}

// slots bound what is taken at a time, so that many large files cost no more memory than a few; and one group leaves room for others.
type slots struct {
	all  chan struct{}
	each int
	mu   sync.Mutex
	of   map[string]chan struct{} // groups; there are as many as were ever given a token
}

func newSlots(n int) *slots {
	return &slots{all: make(chan struct{}, n), each: max(1, n/2), of: map[string]chan struct{}{}}
}

func (s *slots) take(ctx context.Context, group string) (done func(), err error) {
	s.mu.Lock()
	own := s.of[group]
	if own == nil {
		own = make(chan struct{}, s.each)
		s.of[group] = own
	}
	s.mu.Unlock()
	full := time.NewTimer(answers)
	defer full.Stop()
	for _, c := range []chan struct{}{own, s.all} {
		select {
		case c <- struct{}{}:
			continue
		case <-ctx.Done():
			err = context.Cause(ctx)
		case <-full.C:
			err = refuse(http.StatusServiceUnavailable, "too many files are being stored")
		}
		if c == s.all {
			<-own
		}
		return nil, err
	}
	return func() { <-s.all; <-own }, nil
}
