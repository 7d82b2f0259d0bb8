package gateway

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"

	"github.com/waybill-dev/waybill/internal/filestore"
)

const key = "0123456789abcdef0123456789abcdef"

// stand is a gateway before a bucket in memory.
type stand struct {
	*Gateway
	t      *testing.T
	bucket *blob.Bucket
	url    string
	client *http.Client
}

func setup(t *testing.T, change ...func(*Options)) *stand {
	s := &stand{t: t, bucket: memblob.OpenBucket(nil), client: &http.Client{Transport: &http.Transport{}}}
	t.Cleanup(func() { _ = s.bucket.Close() })
	o := Options{Key: []byte(key), Log: slog.New(slog.DiscardHandler), Store: InBucket(s.bucket), Ready: Listed(s.bucket)}
	for _, f := range change {
		f(&o)
	}
	s.Gateway = New(o)
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	t.Cleanup(s.client.CloseIdleConnections)
	s.url = server.URL
	return s
}

func name(content []byte) string {
	sum := hex.EncodeToString(sum1(content))
	return sum[:2] + "/" + sum
}

func sum1(content []byte) []byte {
	s := sha1.Sum(content)
	return s[:]
}

// do is a request of a group's, and its answer with all of its body.
func (s *stand) do(group, method, path string, body []byte) (*http.Response, string) {
	s.t.Helper()
	return s.ask(s.request(group, method, path, body))
}

func (s *stand) request(group, method, path string, body []byte) *http.Request {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, bytes.NewReader(body))
	require.NoError(s.t, err)
	r.Header.Set("Authorization", "Bearer "+Token([]byte(key), group))
	return r
}

func (s *stand) ask(r *http.Request) (*http.Response, string) {
	s.t.Helper()
	answer, err := s.client.Do(r)
	require.NoError(s.t, err)
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	require.NoError(s.t, err)
	return answer, string(content)
}

func (s *stand) keys() []string {
	s.t.Helper()
	var found []string
	it := s.bucket.List(nil)
	for {
		o, err := it.Next(s.t.Context())
		if errors.Is(err, io.EOF) {
			return found
		}
		require.NoError(s.t, err)
		found = append(found, o.Key)
	}
}

const one, other = "production/shared/", "production/wholesale/"

func TestProtocol(t *testing.T) {
	s := setup(t)
	content := bytes.Repeat([]byte("content "), 1000)
	file := "/v1/acme/" + name(content)
	mark := "/v1/acme/checklist/" + name(content)
	for _, c := range []struct {
		method, path string
		body         []byte
		status       int
		says         string
	}{
		{"GET", file, nil, 404, "there is no such file\n"},
		{"HEAD", file, nil, 404, ""},
		{"DELETE", file, nil, 204, ""},
		{"PUT", mark, nil, 204, ""},
		{"PUT", file, []byte("something else"), 422, filestore.ErrNotItsName.Error() + "\n"},
		{"PUT", file, nil, 422, filestore.ErrNotItsName.Error() + "\n"},
		{"GET", file, nil, 404, "there is no such file\n"},
		{"PUT", file, content, 201, ""},
		{"PUT", file, content, 200, ""},
		{"PUT", file, content[1:], 409, "something else of another size is there\n"},
		{"GET", file, nil, 200, string(content)},
		{"HEAD", file, nil, 200, ""},
		{"GET", "/v1/acme/checklist", nil, 200, name(content) + "\n"},
		{"PUT", mark, nil, 204, ""},
		{"GET", "/v1/acme/checklist", nil, 200, name(content) + "\n"},
		{"DELETE", mark, nil, 204, ""},
		{"DELETE", mark, nil, 204, ""},
		{"GET", "/v1/acme/checklist", nil, 200, ""},
		{"GET", file, nil, 200, string(content)},
		{"DELETE", file, nil, 204, ""},
		{"GET", file, nil, 404, "there is no such file\n"},
		{"POST", file, nil, 405, ""},
		{"GET", mark, nil, 405, ""},
		{"PUT", "/v1/acme/checklist", nil, 405, ""},
		{"PUT", "/v1/acme/" + name(nil), nil, 201, ""},
		{"GET", "/v1/acme/" + name(nil), nil, 200, ""},
		{"GET", "/livez", nil, 200, ""},
		{"GET", "/readyz", nil, 200, ""},
	} {
		answer, body := s.do(one, c.method, c.path, c.body)
		require.Equal(t, c.status, answer.StatusCode, "%s %s: %s", c.method, c.path, body)
		if c.status != 405 {
			require.Equal(t, c.says, body, "%s %s", c.method, c.path)
		}
		if c.method == "HEAD" && c.status == 200 {
			require.EqualValues(t, len(content), answer.ContentLength)
		}
	}
}

func TestNoToken(t *testing.T) {
	s := setup(t)
	content := []byte("x")
	require.Equal(t, 201, status(s.do(one, "PUT", "/v1/acme/"+name(content), content)))
	good := Token([]byte(key), one)
	for _, authorization := range []string{"", "Bearer", "Bearer ", "Basic " + good, good, "Bearer " + good + "A", "Bearer " + Token([]byte("another key"), one)} {
		for _, path := range []string{"/v1/acme/" + name(content), "/v1/acme/checklist", "/v1/no/name", "/"} {
			r := s.request(one, "GET", path, nil)
			r.Header.Set("Authorization", authorization)
			answer, body := s.ask(r)
			require.Equal(t, 401, answer.StatusCode, "%q %s", authorization, path)
			require.Equal(t, "no such token\n", body)
		}
	}
	for _, path := range []string{"/livez", "/readyz"} {
		r := s.request(one, "GET", path, nil)
		r.Header.Del("Authorization")
		require.Equal(t, 200, status(s.ask(r)))
	}
}

func status(answer *http.Response, _ string) int { return answer.StatusCode }

// A token is for what is below its own prefix, whatever a database is called.
func TestTokenStaysBelowItsPrefix(t *testing.T) {
	s := setup(t)
	content := []byte("x")
	names := []string{"acme", "..", ".", "../wholesale", "/", "a/../../wholesale/acme", "checklist", "%2e%2e", "Ünï cödé", "a%2Fb", `a\b`, "a?b#c", strings.Repeat("x", 63)}
	for _, database := range names {
		path := "/v1/" + Segment(database) + "/" + name(content)
		require.Equal(t, 404, status(s.do(one, "GET", path, nil)), database)
		require.Equal(t, 201, status(s.do(one, "PUT", path, content)), database)
		require.Equal(t, 200, status(s.do(one, "GET", path, nil)), database)
		require.Equal(t, 404, status(s.do(other, "GET", path, nil)), database)
		require.Equal(t, 404, status(s.do("staging/shared/", "GET", path, nil)), database)
		require.Equal(t, 204, status(s.do(one, "PUT", "/v1/"+Segment(database)+"/checklist/"+name(content), nil)))
		_, marked := s.do(other, "GET", "/v1/"+Segment(database)+"/checklist", nil)
		require.Empty(t, marked)
	}
	found := s.keys()
	require.Len(t, found, 2*len(names), "each has its own")
	for _, k := range found {
		require.True(t, strings.HasPrefix(k, one), k)
		require.Equal(t, k, filepath.ToSlash(filepath.Clean(k)))
	}
}

func TestBadNames(t *testing.T) {
	s := setup(t)
	good := name([]byte("x"))
	for _, path := range []string{
		"/v1/acme/", "/v1/acme/aa", "/v1/acme/aa/" + good[3:], "/v1/acme/" + good + "/", "/v1/acme/" + strings.ToUpper(good), "/v1/acme//" + good,
		"/v1/acme/" + strings.Replace(good, "/", "%2F", 1), "/v1/acme/%31" + good[1:], "/v1/acme/../" + good, "/v1/acme/checklist/../" + good,
		"/v1/acme/checklist/", "/v1/acme/checklist/" + good[:10], "/v1/acme/checklist/" + good + "/x", "/v1/acme/" + good + "%00",
		"/v1//" + good, "/v1/%00/" + good, "/v1/a%00b/" + good, "/v1/%FF/" + good, "/v1/" + strings.Repeat("x", 64) + "/" + good,
	} {
		for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "POST"} {
			answer, body := s.do(one, method, path, nil)
			require.Equal(t, 400, answer.StatusCode, "%s %s: %s", method, path, body)
		}
	}
	for _, path := range []string{"/", "/v1", "/v1/acme", "/v2/acme/" + good, "//v1/acme/" + good} {
		require.Equal(t, 404, status(s.do(one, "GET", path, nil)), path)
	}
	require.Empty(t, s.keys())
}

func TestSizes(t *testing.T) {
	s := setup(t, func(o *Options) { o.Limit = 1000 })
	content := make([]byte, 1001)
	answer, body := s.do(one, "PUT", "/v1/acme/"+name(content), content)
	require.Equal(t, 413, answer.StatusCode)
	require.Equal(t, "1001 bytes are more than the 1000 that a file may have\n", body)
	require.Equal(t, 201, status(s.do(one, "PUT", "/v1/acme/"+name(content[:1000]), content[:1000])))
	r := s.request(one, "PUT", "/v1/acme/"+name(content), nil)
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(content)), -1
	require.Equal(t, 411, status(s.ask(r)))
	require.Len(t, s.keys(), 1)
}

// raw is a connection on which a test writes what no client would.
func (s *stand) raw(method, path string, length int) net.Conn {
	s.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = c.Close() })
	_, err = fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n", method, path, Token([]byte(key), one), length)
	require.NoError(s.t, err)
	return c
}

func TestCutUploadLeavesNothing(t *testing.T) {
	gone := make(chan error, 1)
	s := setup(t, func(o *Options) {
		store := o.Store
		o.Store = func(prefix, database string) filestore.Store { return told{store(prefix, database), gone} }
	})
	content := make([]byte, 3<<20)
	c := s.raw("PUT", "/v1/acme/"+name(content), len(content))
	_, err := c.Write(content[:2<<20])
	require.NoError(t, err)
	require.NoError(t, c.Close())
	require.Error(t, <-gone)
	require.Empty(t, s.keys())
	require.Equal(t, 201, status(s.do(one, "PUT", "/v1/acme/"+name(content), content)))
}

// told tells what became of a file that was to be added.
type told struct {
	filestore.Store
	gone chan error
}

func (t told) Add(ctx context.Context, name string, size int64, content func(io.Writer) error) (filestore.Added, error) {
	added, err := t.Store.Add(ctx, name, size, content)
	select {
	case t.gone <- err:
	default:
	}
	return added, err
}

// A client that writes all of a file that is there already sees the answer, and its connection serves on.
func TestLargeFileThatIsThere(t *testing.T) {
	s := setup(t)
	content := make([]byte, 5<<20)
	require.Equal(t, 201, status(s.do(one, "PUT", "/v1/acme/"+name(content), content)))
	c := s.raw("PUT", "/v1/acme/"+name(content), len(content))
	_, err := c.Write(content)
	require.NoError(t, err)
	in := bufio.NewReader(c)
	answer, err := http.ReadResponse(in, nil)
	require.NoError(t, err)
	require.Equal(t, 200, answer.StatusCode)
	require.NoError(t, answer.Body.Close())
	_, err = fmt.Fprintf(c, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	answer, err = http.ReadResponse(in, nil)
	require.NoError(t, err)
	require.Equal(t, 200, answer.StatusCode)
}

// zeros are a content that nobody holds.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// A file passes through: what stands behind the gateway here counts it and keeps nothing.
func TestMemoryIsBounded(t *testing.T) {
	const size = 64 << 20
	var most atomic.Uint64
	look := func() {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		most.Store(max(most.Load(), m.HeapAlloc))
	}
	s := setup(t, func(o *Options) {
		o.Store = func(string, string) filestore.Store { return sink{size: size, look: look} }
	})
	look()
	before := most.Load()
	r := s.request(one, "PUT", "/v1/acme/"+name([]byte("x")), nil)
	r.Body, r.ContentLength = io.NopCloser(io.LimitReader(zeros{}, size)), size
	require.Equal(t, 201, status(s.ask(r)))
	answer, err := s.client.Do(s.request(one, "GET", "/v1/acme/"+name([]byte("x")), nil))
	require.NoError(t, err)
	defer answer.Body.Close()
	n, err := io.Copy(io.Discard, answer.Body)
	require.NoError(t, err)
	require.EqualValues(t, size, n)
	require.Less(t, most.Load()-before, uint64(4<<20))
}

// sink takes a content and forgets it.
type sink struct {
	filestore.Store
	size int64
	look func()
}

func (s sink) Add(_ context.Context, _ string, _ int64, content func(io.Writer) error) (filestore.Added, error) {
	return filestore.New, content(&looking{s.look, 0})
}

func (s sink) Open(context.Context, string) (io.ReadCloser, int64, error) {
	l := &looking{s.look, 0}
	return io.NopCloser(io.TeeReader(io.LimitReader(zeros{}, s.size), l)), s.size, nil
}

type looking struct {
	look func()
	n    int
}

func (l *looking) Write(p []byte) (int, error) {
	if before := l.n; before>>23 != (before+len(p))>>23 {
		l.look()
	}
	l.n += len(p)
	return len(p), nil
}

// broken is a bucket that answers nothing but an error, or nothing at all.
type broken struct{ hangs bool }

var errDown = errors.New("no route to the bucket")

func (b broken) do(ctx context.Context) error {
	if b.hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	return errDown
}

func (b broken) String() string { return "broken" }
func (b broken) Open(ctx context.Context, _ string) (io.ReadCloser, int64, error) {
	return nil, 0, b.do(ctx)
}
func (b broken) Stat(ctx context.Context, _ string) (int64, error) { return 0, b.do(ctx) }
func (b broken) Add(ctx context.Context, _ string, _ int64, content func(io.Writer) error) (filestore.Added, error) {
	if err := content(io.Discard); err != nil {
		return 0, err
	}
	return 0, b.do(ctx)
}
func (b broken) Delete(ctx context.Context, _ string) error                  { return b.do(ctx) }
func (b broken) Each(ctx context.Context, _ func(string, int64) error) error { return b.do(ctx) }
func (b broken) Sizes(ctx context.Context, _ string) (map[string]int64, error) {
	return nil, b.do(ctx)
}
func (b broken) Exists(ctx context.Context) (bool, error)     { return false, b.do(ctx) }
func (b broken) RemoveAll(ctx context.Context) error          { return b.do(ctx) }
func (b broken) Mark(ctx context.Context, _ string) error     { return b.do(ctx) }
func (b broken) Unmark(ctx context.Context, _ string) error   { return b.do(ctx) }
func (b broken) Marked(ctx context.Context) ([]string, error) { return nil, b.do(ctx) }

// Whether the bucket refuses or is silent, the client hears that it shall come again.
func TestBucketAway(t *testing.T) {
	for _, hangs := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := broken{hangs}
			g := New(Options{Key: []byte(key), Log: slog.New(slog.DiscardHandler), Ready: b.do,
				Store: func(string, string) filestore.Store { return b }})
			file, mark := "/v1/acme/"+name([]byte("x")), "/v1/acme/checklist/"+name([]byte("x"))
			for _, c := range [][2]string{{"GET", file}, {"HEAD", file}, {"PUT", file}, {"DELETE", file}, {"PUT", mark}, {"DELETE", mark}, {"GET", "/v1/acme/checklist"}, {"GET", "/readyz"}} {
				r := httptest.NewRequest(c[0], c[1], strings.NewReader("x"))
				r.Header.Set("Authorization", "Bearer "+Token([]byte(key), one))
				w := httptest.NewRecorder()
				started := time.Now()
				g.ServeHTTP(w, r)
				require.Equal(t, 503, w.Code, c)
				require.Equal(t, "5", w.Header().Get("Retry-After"), c)
				require.LessOrEqual(t, time.Since(started), listing, c)
				require.Equal(t, hangs, time.Since(started) > 0, c)
			}
		})
	}
}

// What breaks off on its way from the bucket is not taken for the whole.
func TestBrokenOnItsWay(t *testing.T) {
	s := setup(t, func(o *Options) {
		o.Store = func(string, string) filestore.Store { return short{} }
	})
	answer, err := s.client.Do(s.request(one, "GET", "/v1/acme/"+name([]byte("x")), nil))
	if err == nil {
		_, err = io.ReadAll(answer.Body)
		_ = answer.Body.Close()
	}
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

type short struct{ filestore.Store }

func (short) Open(context.Context, string) (io.ReadCloser, int64, error) {
	return io.NopCloser(io.LimitReader(zeros{}, 100<<10)), 200 << 10, nil
}

// One group that stores many files leaves room for others.
func TestUploadsAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(4)
		var done []func()
		for range 2 {
			d, err := s.take(t.Context(), one)
			require.NoError(t, err)
			done = append(done, d)
		}
		_, err := s.take(t.Context(), one)
		require.ErrorContains(t, err, "too many files")
		d, err := s.take(t.Context(), other)
		require.NoError(t, err)
		d()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = s.take(ctx, one)
		require.ErrorIs(t, err, context.Canceled)
		waited := make(chan error)
		go func() {
			d, err := s.take(t.Context(), one)
			if err == nil {
				d()
			}
			waited <- err
		}()
		synctest.Wait()
		done[0]()
		require.NoError(t, <-waited)
		done[1]()
		require.Empty(t, s.all)

		// Who waited for the others in vain leaves nothing taken.
		s = newSlots(1)
		d, err = s.take(t.Context(), one)
		require.NoError(t, err)
		_, err = s.take(t.Context(), other)
		require.ErrorContains(t, err, "too many files")
		d()
		_, err = s.take(t.Context(), other)
		require.NoError(t, err)
	})
}

// What is under way when it is told to end is finished, and /readyz says so before anybody is refused.
func TestEnd(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	g := New(Options{Key: []byte(key), Log: slog.New(slog.DiscardHandler),
		Store: func(string, string) filestore.Store {
			close(entered)
			<-release
			return sink{size: 10, look: func() {}}
		}})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- g.serveOn(ctx, l, 300*time.Millisecond) }()
	s := &stand{t: t, url: "http://" + l.Addr().String(), client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	got := make(chan int, 1)
	go func() {
		answer, err := s.client.Do(s.request(one, "GET", "/v1/acme/"+name([]byte("x")), nil))
		if err != nil {
			got <- 0
			return
		}
		n, _ := io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
		got <- int(n)
	}()
	<-entered
	require.Equal(t, 200, status(s.do(one, "GET", "/readyz", nil)))
	cancel()
	<-g.ending
	require.Equal(t, 503, status(s.do(one, "GET", "/readyz", nil)))
	close(release)
	require.Equal(t, 10, <-got)
	require.NoError(t, <-ended)
}

func TestReadKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	_, err := ReadKey(path)
	require.ErrorContains(t, err, "no such file")
	for content, says := range map[string]string{"": "has 0 characters", "short\n": "has 5 characters", key + " " + key: "or one line", key + "\n" + key: "or one line", key + "\x00": "or one line"} {
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		_, err := ReadKey(path)
		require.ErrorContains(t, err, says, "%q", content)
	}
	require.NoError(t, os.WriteFile(path, []byte(" "+key+"\n"), 0o600))
	got, err := ReadKey(path)
	require.NoError(t, err)
	require.Equal(t, key, string(got))
	raw := bytes.Repeat([]byte("\x00\n"), 16)
	require.NoError(t, os.WriteFile(path, raw, 0o600))
	got, err = ReadKey(path)
	require.NoError(t, err)
	require.Equal(t, raw, got)
}

func TestRun(t *testing.T) {
	dir := t.TempDir()
	bucket, file := "file://"+filepath.Join(dir, "bucket"), filepath.Join(dir, "key")
	require.ErrorContains(t, Run(t.Context(), "127.0.0.1:0", bucket, file, nil), "read the key of the tokens")
	require.NoError(t, os.WriteFile(file, []byte(key), 0o600))
	require.ErrorContains(t, Run(t.Context(), "127.0.0.1:0", "gopher://x", file, nil), "open bucket gopher://x")
	require.ErrorContains(t, Run(t.Context(), "256.0.0.1:0", bucket, file, nil), "listen on 256.0.0.1:0")
}
