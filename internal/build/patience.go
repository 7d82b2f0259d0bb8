package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// defaultPatience is how long a registry may neither take nor say anything. Behind it may be a bucket
// that puts 1 GB together from parts.
const defaultPatience = 3 * time.Minute

// errSilent ends what a registry does not get on with.
var errSilent = errors.New("the registry has neither taken nor said anything")

// patient ends a request on which nothing moves any more, however long one that moves may take, and
// bounds answers that are read whole.
type patient struct {
	next     http.RoundTripper
	patience time.Duration
}

func (p *patient) RoundTrip(request *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(request.Context())
	w := &watch{patience: p.patience, cancel: cancel}
	w.timer = time.AfterFunc(p.patience, func() { cancel(errSilent) })
	asked := request.Clone(ctx)
	if request.Body != nil && request.Body != http.NoBody {
		asked.Body = &watchedBody{ReadCloser: request.Body, watch: w}
		if body := request.GetBody; body != nil {
			asked.GetBody = func() (io.ReadCloser, error) {
				again, err := body()
				if err != nil {
					return nil, err
				}
				return &watchedBody{ReadCloser: again, watch: w}, nil
			}
		}
	}
	response, err := p.next.RoundTrip(asked)
	if err != nil {
		err = w.explain(ctx, err)
		w.end()
		return nil, err
	}
	w.moved()
	limit := int64(-1)
	if !strings.Contains(request.URL.Path, "/blobs/") {
		limit = maxDocument
	}
	response.Body = &watchedBody{ReadCloser: response.Body, watch: w, ctx: ctx, last: true, limit: limit}
	return response, nil
}

// watch is the clock of one request.
type watch struct {
	patience time.Duration
	cancel   context.CancelCauseFunc

	mu    sync.Mutex
	timer *time.Timer
	ended bool
}

func (w *watch) moved() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ended {
		w.timer.Reset(w.patience)
	}
}

func (w *watch) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	w.timer.Stop()
	w.cancel(nil)
}

func (w *watch) explain(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errSilent) {
		return fmt.Errorf("%w for %s", errSilent, w.patience)
	}
	return err
}

type watchedBody struct {
	io.ReadCloser
	watch *watch
	ctx   context.Context // of an answer
	last  bool            // the request ends with it
	limit int64           // bytes; below 0: none
	read  int64
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.watch.moved()
	}
	if b.read += int64(n); b.last && b.limit >= 0 && b.read > b.limit {
		return n, fmt.Errorf("the registry's answer has more than %d MB, which is no image's manifest", b.limit>>20)
	}
	if err != nil && !errors.Is(err, io.EOF) && b.last {
		err = b.watch.explain(b.ctx, err)
	}
	return n, err
}

func (b *watchedBody) Close() error {
	if b.last {
		b.watch.end()
	}
	return b.ReadCloser.Close()
}
