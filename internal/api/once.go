package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/waybill-dev/waybill/internal/store"
)

// onceHeader names a request, so that it has its effect once, however often it is sent.
const onceHeader = "Idempotency-Key"

const (
	maxOnceKey   = 128              // characters
	onceBeat     = 2 * time.Second  // see store.BeginOnce
	onceRead     = 10 * time.Second // for the body to come
	oncePoll     = 100 * time.Millisecond
	oncePatience = 30 * time.Second // for the first of two that came at the same time
	maxOnceBody  = 1 << 20          // of an answer, to be kept
)

// secretAnswers are the paths whose answers hold what is shown once, and kept nowhere.
var secretAnswers = []string{"/api/v1/tokens"}

// once answers a request with a key that was answered before as it was then. Logins and passwords are left out: not even a hash of such a
// request may be kept, for a password can be guessed from it.
func (b Backend) once(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, person := r.Header.Get(onceHeader), personOf(r.Context()).Name
		if key == "" || person == "" || strings.HasSuffix(r.URL.Path, "/login") || strings.HasSuffix(r.URL.Path, "/password") || r.Method != http.MethodPost && r.Method != http.MethodDelete {
			next.ServeHTTP(w, r)
			return
		}
		if len(key) > maxOnceKey || strings.ContainsFunc(key, func(c rune) bool { return c < '!' || c > '~' }) {
			answerWith(w, huma.Error422UnprocessableEntity(onceHeader+" is 1 to 128 visible ASCII characters, chosen at random"))
			return
		}
		control := http.NewResponseController(w)
		_ = control.SetReadDeadline(time.Now().Add(onceRead)) // where there is no connection, nobody is slow
		content, err := io.ReadAll(r.Body)
		_ = control.SetReadDeadline(time.Time{})
		var long *http.MaxBytesError
		switch {
		case errors.As(err, &long):
			answerWith(w, huma.NewError(http.StatusRequestEntityTooLarge, "the body is longer than 1 MiB"))
			return
		case errors.Is(err, os.ErrDeadlineExceeded):
			answerWith(w, huma.NewError(http.StatusRequestTimeout, "the body did not come within "+onceRead.String()))
			return
		case err != nil:
			answerWith(w, huma.Error400BadRequest("the body could not be read: "+err.Error()))
			return
		}
		request := requestSum(r.Method, r.URL.RequestURI(), r.Header.Get("Content-Type"), string(content))
		taken, mine, err := b.Store.BeginOnce(r.Context(), person, key, request)
		if err == nil && !mine {
			taken, err = b.answered(r.Context(), taken, request)
		}
		switch {
		case err != nil:
			answerWith(w, problem(err))
			return
		case !mine:
			replay(w, taken)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(content))
		b.first(w, r, next, person, key)
	})
}

// requestSum tells requests apart.
func requestSum(parts ...string) []byte {
	sum := sha256.New()
	for _, part := range parts {
		_, _ = sum.Write([]byte(part))
		_, _ = sum.Write([]byte{0})
	}
	return sum.Sum(nil)
}

// answered waits until the first of two equal requests has its answer.
func (b Backend) answered(ctx context.Context, o store.Once, request []byte) (store.Once, error) {
	deadline := time.Now().Add(oncePatience)
	tick := time.NewTicker(oncePoll)
	defer tick.Stop()
	for {
		switch {
		case !bytes.Equal(o.Request, request):
			return o, as(keyReused, "this "+onceHeader+" belongs to another request of yours; take a new one")
		case o.Silent:
			return o, as(outcomeUnknown, "the server ended while it answered the first request with this "+onceHeader+"; look what there is, then ask with another key")
		case o.Status != 0:
			return o, nil
		case time.Now().After(deadline):
			return o, as(keyUnderWay, "the first request with this "+onceHeader+" is being answered still; ask again in a moment")
		}
		select {
		case <-ctx.Done():
			return o, ctx.Err()
		case <-tick.C:
		}
		var err error
		o, err = b.Store.Once(ctx, o.Person, o.Key)
		if errors.Is(err, store.ErrNotFound) {
			return o, as(keyUnderWay, "the first request with this "+onceHeader+" came to nothing; ask again")
		} else if err != nil {
			return o, err
		}
	}
}

// replay answers as before.
func replay(w http.ResponseWriter, o store.Once) {
	if o.Body == nil {
		answerWith(w, as(answerNotKept, "the first request with this "+onceHeader+" was done; its answer is not kept, for it held a secret or was too long"))
		return
	}
	w.Header().Set("Idempotency-Replayed", "true")
	if o.Type != "" {
		w.Header().Set("Content-Type", o.Type)
	}
	w.WriteHeader(o.Status)
	_, _ = w.Write(o.Body)
}

// first answers a request that nobody has asked before, and keeps the answer where something may have been done.
func (b Backend) first(w http.ResponseWriter, r *http.Request, next http.Handler, person, key string) {
	stop := b.beat(r.Context(), person, key)
	kept := &keeper{ResponseWriter: w, status: http.StatusOK}
	next.ServeHTTP(kept, r)
	stop()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), 10*time.Second)
	defer cancel()
	var err error
	switch {
	case len(kept.Header()["Set-Cookie"]) > 0: // a session is opened or ended by whoever asks, each time
		err = b.Store.DropOnce(ctx, person, key)
	case kept.status < 300, kept.status == http.StatusConflict, kept.status == http.StatusBadGateway: // where Git is asked, something may have been done all the same
		o := store.Once{Person: person, Key: key, Status: kept.status, Type: kept.Header().Get("Content-Type"), Body: kept.content.Bytes()}
		if o.Body == nil {
			o.Body = []byte{}
		}
		if kept.long || kept.status < 300 && slices.Contains(secretAnswers, r.URL.Path) {
			o.Body = nil
		}
		err = b.Store.EndOnce(ctx, o)
	default:
		err = b.Store.DropOnce(ctx, person, key)
	}
	if err != nil && b.Events != nil {
		b.Events.log.Error("keep the answer to a request with an idempotency key", "person", person, "error", err)
	}
}

// beat says, until it is stopped, that somebody is at it.
func (b Backend) beat(ctx context.Context, person, key string) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		tick := time.NewTicker(onceBeat)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				_ = b.Store.BeatOnce(ctx, person, key) // one that is missed is no harm
			}
		}
	}()
	return cancel
}

// keeper sends an answer on, and keeps it.
type keeper struct {
	http.ResponseWriter
	status  int
	content bytes.Buffer
	long    bool
}

func (k *keeper) WriteHeader(status int) {
	k.status = status
	k.ResponseWriter.WriteHeader(status)
}

func (k *keeper) Write(p []byte) (int, error) {
	if k.long = k.long || k.content.Len()+len(p) > maxOnceBody; !k.long {
		_, _ = k.content.Write(p)
	}
	return k.ResponseWriter.Write(p)
}

func (k *keeper) Unwrap() http.ResponseWriter { return k.ResponseWriter }

// answerWith answers with a problem outside the framework.
func answerWith(w http.ResponseWriter, err error) {
	var said *huma.ErrorModel
	if !errors.As(err, &said) {
		refuse(w, http.StatusInternalServerError, "Internal Server Error", err.Error())
		return
	}
	if said.Status == http.StatusConflict && said.Type == problemsAt+keyUnderWay {
		w.Header().Set("Retry-After", "1")
	}
	writeProblem(w, said)
}
