package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/waybill-dev/waybill/internal/filestore"
	"github.com/waybill-dev/waybill/internal/readings"
)

const (
	// DefaultLimit is the largest file that is taken, in bytes.
	DefaultLimit = 4 << 30
	// DefaultUploads is how many files are taken at a time: each costs the memory that a bucket's client keeps of it on its way.
	DefaultUploads = 8

	// The slowest client that is waited for: this long, and for each second more this many bytes.
	grace   = time.Minute
	slowest = 64 << 10

	answers    = 20 * time.Second // in which the bucket has to answer; the bridge waits longer
	listing    = time.Minute      // the same, for a whole list
	retryAfter = "5"              // seconds
	maxName    = 63               // bytes of a database's name in PostgreSQL
)

var errSilent = errors.New("the bucket has not answered in time")

// Options say what a gateway stands before.
type Options struct {
	Key []byte // of the tokens
	// Store is that of a database below a token's prefix, "ENVIRONMENT/GROUP/". The database's name may be any of PostgreSQL's: see Segment.
	Store   func(prefix, database string) filestore.Store
	Ready   func(context.Context) error // whether what the stores are in can be used; nil: always
	Limit   int64                       // bytes of a file; 0: DefaultLimit
	Uploads int                         // at a time, half of them by one group; 0: DefaultUploads
	Log     *slog.Logger                // nil: slog.Default()
}

// Gateway answers the requests of decision 0020, and GET /livez and /readyz without a token.
type Gateway struct {
	Options
	readings *readings.Readings
	uploads  *slots
	ending   chan struct{} // closed when it is about to end
}

// New makes a gateway.
func New(o Options) *Gateway {
	if o.Limit == 0 {
		o.Limit = DefaultLimit
	}
	if o.Uploads == 0 {
		o.Uploads = DefaultUploads
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return &Gateway{Options: o, readings: readings.New(), uploads: newSlots(o.Uploads), ending: make(chan struct{})}
}

// refusal is an answer that is no success, and why.
type refusal struct {
	status int
	why    string
}

func (r refusal) Error() string { return r.why }

func refuse(status int, format string, args ...any) error {
	return refusal{status, fmt.Sprintf(format, args...)}
}

// request is one that was understood.
type request struct {
	w      http.ResponseWriter
	r      *http.Request
	prefix string // of the token
	store  filestore.Store
	name   string // of the file; empty: the whole checklist
}

func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// A connection is kept, and so would be the deadline of the answer before.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(2 * grace))
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if err := g.serve(w, r); err != nil {
		g.fail(w, r, err)
	}
}

func (g *Gateway) serve(w http.ResponseWriter, r *http.Request) error {
	switch r.URL.Path {
	case "/livez":
		return nil
	case "/readyz":
		return g.ready(r.Context())
	}
	prefix, ok := Admits(g.Key, bearer(r))
	if !ok {
		w.Header().Set("WWW-Authenticate", "Bearer")
		return refuse(http.StatusUnauthorized, "no such token")
	}
	database, name, what, err := parse(r.URL.EscapedPath())
	if err != nil {
		return err
	}
	do := g.methods(what)[r.Method]
	if do == nil {
		w.Header().Set("Allow", allowed[what])
		return refuse(http.StatusMethodNotAllowed, "%s is not what can be done with it: %s", r.Method, allowed[what])
	}
	return do(&request{w, r, prefix, g.Store(prefix, database), name})
}

func (g *Gateway) ready(ctx context.Context) error {
	select {
	case <-g.ending:
		return refuse(http.StatusServiceUnavailable, "ending")
	default:
	}
	if g.Ready == nil {
		return nil
	}
	_, err := readings.Shared(ctx, g.readings, "ready", func(ctx context.Context) (struct{}, error) {
		ctx, cancel := context.WithTimeoutCause(ctx, answers, errSilent)
		defer cancel()
		return struct{}{}, g.Ready(ctx)
	})
	return err
}

func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return token
}

// What a path is of.
const (
	aFile = iota
	aMark
	theMarks
)

var allowed = map[int]string{aFile: "GET, HEAD, PUT, DELETE", aMark: "PUT, DELETE", theMarks: "GET"}

func (g *Gateway) methods(what int) map[string]func(*request) error {
	switch what {
	case aMark:
		return map[string]func(*request) error{
			http.MethodPut:    func(q *request) error { return q.briefly(q.store.Mark) },
			http.MethodDelete: func(q *request) error { return q.briefly(q.store.Unmark) },
		}
	case theMarks:
		return map[string]func(*request) error{http.MethodGet: g.marks}
	}
	return map[string]func(*request) error{
		http.MethodGet: g.get, http.MethodHead: g.head, http.MethodPut: g.put,
		http.MethodDelete: func(q *request) error { return q.briefly(q.store.Delete) },
	}
}

// parse takes a path apart as it was sent, so that nothing that is escaped in it stands for a slash or a dot of the path.
func parse(escaped string) (database, name string, what int, err error) {
	parts := strings.Split(escaped, "/")
	if len(parts) < 4 || parts[0] != "" || parts[1] != "v1" {
		return "", "", 0, refuse(http.StatusNotFound, "there is nothing but /v1/DATABASE/…")
	}
	database, err = url.PathUnescape(parts[2])
	if err != nil || database == "" || len(database) > maxName || !utf8.ValidString(database) || strings.ContainsRune(database, 0) {
		return "", "", 0, refuse(http.StatusBadRequest, "%.80q is no database's name", parts[2])
	}
	rest := parts[3:]
	if rest[0] == "checklist" {
		if rest, what = rest[1:], aMark; len(rest) == 0 {
			return database, "", theMarks, nil
		}
	}
	name = strings.Join(rest, "/")
	if !filestore.Valid(name) {
		return "", "", 0, refuse(http.StatusBadRequest, "%.80q is no file's name: expected aa/SHA1", name)
	}
	return database, name, what, nil
}

// fail answers with what went wrong, and says in the log what is not the client's business or doing.
func (g *Gateway) fail(w http.ResponseWriter, r *http.Request, err error) {
	var known refusal
	switch {
	case errors.As(err, &known):
	case errors.Is(err, fs.ErrNotExist):
		known = refusal{http.StatusNotFound, "there is no such file"}
	case errors.Is(err, filestore.ErrNotItsName) && r.Method == http.MethodPut:
		known = refusal{http.StatusUnprocessableEntity, filestore.ErrNotItsName.Error()}
	case errors.Is(err, filestore.ErrNotItsName):
		g.Log.Error("what is stored is no file", "path", r.URL.Path, "err", err)
		known = refusal{http.StatusNotFound, "there is no such file"}
	case r.Context().Err() != nil:
		g.Log.Debug("a client has gone", "method", r.Method, "path", r.URL.Path, "err", err)
		panic(http.ErrAbortHandler)
	default:
		g.Log.Warn("the bucket is of no use", "method", r.Method, "path", r.URL.Path, "err", err)
		known = refusal{http.StatusServiceUnavailable, "the bucket does not answer"}
	}
	if known.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", retryAfter)
	}
	http.Error(w, known.why, known.status)
}

// briefly does what is done at once.
func (q *request) briefly(do func(context.Context, string) error) error {
	ctx, cancel := context.WithTimeoutCause(q.r.Context(), answers, errSilent)
	defer cancel()
	if err := do(ctx, q.name); err != nil {
		return err
	}
	q.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (g *Gateway) head(q *request) error {
	ctx, cancel := context.WithTimeoutCause(q.r.Context(), answers, errSilent)
	defer cancel()
	size, err := q.store.Stat(ctx, q.name)
	if err != nil {
		return err
	}
	q.describe(size)
	return nil
}

func (q *request) describe(size int64) {
	q.w.Header().Set("Content-Type", "application/octet-stream")
	q.w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
}

// patience is how long the slowest client may take over so many bytes.
func patience(size int64) time.Duration {
	return grace + time.Duration(size/slowest)*time.Second
}

func (g *Gateway) get(q *request) error {
	ctx, cancel := context.WithCancelCause(q.r.Context())
	defer cancel(nil)
	silent := time.AfterFunc(answers, func() { cancel(errSilent) })
	content, size, err := q.store.Open(ctx, q.name)
	silent.Stop()
	if err != nil {
		return err
	}
	defer content.Close()
	deadline := time.Now().Add(patience(size))
	_ = http.NewResponseController(q.w).SetWriteDeadline(deadline)
	late := time.AfterFunc(time.Until(deadline), func() { cancel(errSilent) }) // also where the bucket has stopped in the middle
	defer late.Stop()
	q.describe(size)
	if n, err := io.Copy(q.w, io.LimitReader(content, size)); err != nil || n != size {
		g.Log.Warn("a file was not delivered whole", "path", q.r.URL.Path, "bytes", n, "of", size, "err", err)
		panic(http.ErrAbortHandler) // the client must see that it was cut off
	}
	return nil
}

func (g *Gateway) marks(q *request) error {
	ctx, cancel := context.WithTimeoutCause(q.r.Context(), listing, errSilent)
	defer cancel()
	names, err := q.store.Marked(ctx)
	if err != nil {
		return err
	}
	q.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	for _, name := range names {
		if _, err := io.WriteString(q.w, name+"\n"); err != nil {
			return nil // the client has gone
		}
	}
	return nil
}
