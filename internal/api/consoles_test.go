package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/approval"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/identity"
	"github.com/waybill-dev/waybill/internal/keys"
	"github.com/waybill-dev/waybill/internal/promotion"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/store/storetest"
)

// serveEnv makes this program a server on the database that it names, with the estate in the folder of estateEnv: what is measured is a
// process of its own.
const (
	serveEnv  = "WAYBILL_BENCH_API"
	estateEnv = "WAYBILL_BENCH_ESTATE"
)

func init() {
	if url := os.Getenv(serveEnv); url != "" {
		if err := serveBench(url, os.Getenv(estateEnv)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// benchEstate writes the estate of the benchmark, in Git as people keep theirs: two environments of twenty tenants, and a user for each console.
func benchEstate(b *testing.B, consoles int) string {
	dir := b.TempDir()
	text := "kind: Product\nname: acme\nseries: \"19.0\"\nenvironments: [test, production]\n"
	for port, env := range map[int]string{8079: "test", 8080: "production"} {
		text += fmt.Sprintf("---\nkind: Environment\nname: %s\nruntime: {docker: {http: \"127.0.0.1:%d\"}}\n", env, port)
		for i := range 20 {
			text += fmt.Sprintf("---\nkind: Tenant\nname: t%02d\nenvironment: %s\ndatabase: t%02d_%s\nhosts: [t%02d.%s.example]\n", i, env, i, env, i, env)
		}
	}
	text += "---\nkind: Access\nusers:\n"
	for i := range consoles {
		text += fmt.Sprintf("  - name: %s\n    roles: [{role: viewer}]\n", watcher(i))
	}
	require.NoError(b, os.WriteFile(filepath.Join(dir, "estate.yaml"), []byte(text), 0o644))
	for _, args := range [][]string{{"init", "-q"}, {"add", "."}, {"-c", "user.name=Bench", "-c", "user.email=bench@example.com", "-c", "commit.gpgsign=false", "commit", "-q", "-m", "estate"}} {
		out, err := exec.Command("git", append([]string{"-C", dir}, args...)...).CombinedOutput()
		require.NoError(b, err, string(out))
	}
	return dir
}

func watcher(i int) string { return fmt.Sprintf("watcher-%d", i) }

// sessionsOf are the sessions of an estate's users, as a server has them.
func sessionsOf(state *store.Store, folder *estate.Reader, dir string) *identity.Sessions {
	access := func(ctx context.Context) (*estate.Access, error) { return folder.Access(ctx, dir) }
	return &identity.Sessions{Store: state, Tokens: &identity.Tokens{Store: state, Access: access, Now: time.Now}, Access: access, Owner: "root", Token: "the-owner's", Now: time.Now}
}

func serveBench(url, dir string) error {
	ctx := context.Background()
	state, err := store.Open(ctx, url)
	if err != nil {
		return err
	}
	data, err := os.MkdirTemp("", "wbbench")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(data) }()
	secrets, err := keys.Open(data)
	if err != nil {
		return err
	}
	quiet := slog.New(slog.DiscardHandler)
	engine, err := promotion.New(promotion.Rooms{Store: state, Keys: secrets, Present: func(context.Context, release.Release) error { return errors.New("no such image") },
		Trusted: func(context.Context, release.Release, promotion.Snapshot) error { return nil },
		Place: func(context.Context, estate.Environment) (promotion.Place, error) {
			return promotion.Place{Runtime: empty{}}, nil
		}}, "nobody", quiet, nil)
	if err != nil {
		return err
	}
	folder := &estate.Reader{}
	sessions := sessionsOf(state, folder, dir)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: Handler(Backend{Store: state, Engine: engine, Token: "the-owner's", Owner: "root", Version: "bench",
		Estate: func(ctx context.Context) (*estate.Estate, error) { return folder.Load(ctx, dir) }, Sessions: sessions, Tokens: sessions.Tokens,
		Approvals: &approval.Room{Store: state, Engine: engine, Access: sessions.Access, Now: time.Now}})}
	fmt.Println(listener.Addr())
	go func() { // until whoever has started it is gone
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = server.Close()
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// history writes promotions of 3 tenants with 14 steps each, as large as real ones.
func history(b *testing.B, s *store.Store, promotions int) {
	for _, sql := range []string{
		`insert into promotions (id, kind, environment, release, release_name, class, requested_by, options, estate, estate_commit, created_at, finished_at, outcome)
			select 'h' || i, 'promote', case when i % 2 = 0 then 'test' else 'production' end, 'sha256:' || (i % 500), 'r' || (i % 500), 'swap', 'bert', '{}',
				jsonb_build_object('snapshot', repeat(md5(i::text), 128)), md5(i::text), now() - (` + fmt.Sprint(promotions) + ` - i) * interval '5 minutes', now(), 'promoted'
			from generate_series(1, ` + fmt.Sprint(promotions) + `) i`,
		`insert into rollouts (id, promotion_id, environment, tenant, state, memory, outcome, revision, finished_at)
			select p.id || '-' || t, p.id, p.environment, 't0' || t, 'done', jsonb_build_object('plan', jsonb_build_object('predicted_seconds', 4), 'notes', repeat(md5(p.id), 64)), 'promoted', 40, now()
			from promotions p, generate_series(0, 2) t`,
		`insert into steps (rollout_id, name, undo, outcome, detail, epoch, started_at, finished_at)
			select r.id, 'step' || n, false, 'done', repeat('what was done ', 6), n, now(), now() from rollouts r, generate_series(1, 14) n`,
		`insert into releases (digest, repository, name, data) select 'sha256:' || i, 'acme', 'r' || i, jsonb_build_object('name', 'r' || i, 'repository', 'acme') from generate_series(0, 499) i`,
		`insert into tenants (environment, name, database, hosts, pool_group, serving_release, schema_release)
			select e, 't' || lpad(i::text, 2, '0'), 't' || i || '_' || e, '{h}', 'shared', 'sha256:' || i, 'sha256:' || i from generate_series(0, 19) i, unnest('{test,production}'::text[]) e`,
		`delete from changes`, `analyze`,
	} {
		_, err := s.Pool.Exec(b.Context(), sql)
		require.NoError(b, err, sql)
	}
}

// figures are the durations of one thing.
type figures struct {
	sync.Mutex
	of map[string][]time.Duration
}

func (f *figures) add(what string, d time.Duration) {
	f.Lock()
	defer f.Unlock()
	f.of[what] = append(f.of[what], d)
}

func (f *figures) at(what string, share float64) time.Duration {
	list := slices.Clone(f.of[what])
	slices.Sort(list)
	if len(list) == 0 {
		return 0
	}
	return list[min(len(list)-1, int(share*float64(len(list))))]
}

// BenchmarkConsoles has 200 consoles open on a promotion in flight, with 10,000 in history: each has a stream, and reads what it is told of,
// as the console in web/ does. It fails where a list or a promotion takes more than 100 ms (p99), an event more than a second, or the
// server more than 300 MB.
func BenchmarkConsoles(b *testing.B) {
	const consoles, promotions, lasts = 200, 10_000, 30 * time.Second
	database := storetest.Database(b, cluster(b))
	state, err := store.Open(b.Context(), database)
	require.NoError(b, err)
	b.Cleanup(state.Close)
	history(b, state, promotions)
	program, err := os.Executable()
	require.NoError(b, err)
	cmd := exec.Command(program)
	dir := benchEstate(b, consoles)
	cmd.Env = append(os.Environ(), serveEnv+"="+database, estateEnv+"="+dir)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	require.NoError(b, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, cmd.Start())
	b.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	address, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(b, err)
	base := "http://" + strings.TrimSpace(address)

	x := &bench{t: b, state: state}
	x.begun("flight", "production", "t00")
	f := &figures{of: map[string][]time.Duration{}}
	var lengths sync.Map // by what was asked for: bytes of the last answer
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: consoles, DisableCompression: true}}
	ctx, cancel := context.WithTimeout(b.Context(), lasts)
	defer cancel()
	sessions := sessionsOf(state, &estate.Reader{}, dir)
	cookies := make([]string, consoles)
	for i := range cookies {
		_, text, err := sessions.Open(b.Context(), identity.Person{Name: watcher(i)}, "password", "127.0.0.1")
		require.NoError(b, err)
		cookies[i] = cookieName(false) + "=" + text
	}
	get := func(ctx context.Context, cookie, what, path string) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil)
		if err != nil {
			return err
		}
		request.Header.Set("Cookie", cookie)
		began := time.Now()
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		length, err := io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		if err == nil && response.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s: %d", path, response.StatusCode)
		}
		if err == nil {
			f.add(what, time.Since(began))
			lengths.Store(what, length)
		}
		return err
	}
	var committed sync.Map // revision → when
	var open, all sync.WaitGroup
	open.Add(consoles)
	failed := make(chan error, consoles)
	for i := range consoles {
		all.Go(func() {
			opened := sync.OnceFunc(open.Done)
			defer opened()
			select { // people don't come in one moment
			case <-ctx.Done():
			case <-time.After(time.Duration(i) * 10 * time.Millisecond):
			}
			err := console(ctx, base, cookies[i], get, opened, func(e store.PromotionEvent) {
				if at, known := committed.Load(e.Revision); known {
					f.add("event", time.Since(at.(time.Time)))
				}
			})
			if err != nil && ctx.Err() == nil {
				failed <- err
			}
		})
	}
	open.Wait()
	change := time.NewTicker(500 * time.Millisecond)
	defer change.Stop()
	for n := int64(1); ctx.Err() == nil; n++ {
		_, err := state.Pool.Exec(context.Background(), "update rollouts set revision = $1 where id = 'rflight'", n)
		require.NoError(b, err)
		committed.Store(n, time.Now())
		select {
		case <-ctx.Done():
		case <-change.C:
		}
	}
	all.Wait()
	select {
	case err := <-failed:
		require.NoError(b, err)
	default:
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	require.NoError(b, err)
	var peak int
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "VmHWM:") {
			_, _ = fmt.Sscan(strings.TrimPrefix(line, "VmHWM:"), &peak)
		}
	}
	fmt.Printf("%d consoles, %d promotions in history, %s\n", consoles, promotions, lasts)
	for _, what := range []string{"list", "promotion", "status", "gates", "approvals", "event"} {
		length, _ := lengths.LoadOrStore(what, int64(0))
		fmt.Printf("  %-10s %6d times  p50 %8s  p99 %8s  most %8s  %4d kB\n", what, len(f.of[what]), f.at(what, .5).Round(100*time.Microsecond), f.at(what, .99).Round(100*time.Microsecond), f.at(what, 1).Round(100*time.Microsecond), length.(int64)/1000)
	}
	fmt.Printf("  memory of the server, at most: %d MB\n", peak/1024)
	require.Positive(b, len(f.of["event"]))
	for _, what := range []string{"list", "promotion"} {
		require.Less(b, f.at(what, .99), 100*time.Millisecond, what)
	}
	require.Less(b, f.at("event", 1), time.Second, "an event came late")
	require.Less(b, peak/1024, 300, "MB")
}

// console is one that is open, of somebody who has logged in: it reads what it shows, and again what an event tells of, at most once in two seconds.
func console(ctx context.Context, base, cookie string, get func(context.Context, string, string, string) error, opened func(), told func(store.PromotionEvent)) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/api/v1/events", nil)
	if err != nil {
		return err
	}
	request.Header.Set("Cookie", cookie)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	events := make(chan store.PromotionEvent, 1000)
	go func() {
		defer close(events)
		lines := bufio.NewScanner(response.Body)
		for lines.Scan() {
			var e store.PromotionEvent
			if data, is := strings.CutPrefix(lines.Text(), "data: "); is && json.Unmarshal([]byte(data), &e) == nil && e.Promotion == "flight" {
				told(e)
				events <- e
			}
		}
	}()
	for _, first := range []struct{ what, path string }{{"status", "/api/v1/status"}, {"list", "/api/v1/promotions?limit=50"}, {"promotion", "/api/v1/promotions/flight"}} {
		if err := get(ctx, cookie, first.what, first.path); err != nil {
			return err
		}
	}
	opened()
	var last time.Time
	for n := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case _, on := <-events:
			if !on {
				return errors.New("the stream has ended")
			}
		}
		if time.Since(last) < 2*time.Second {
			continue
		}
		last = time.Now()
		reads := []struct{ what, path string }{{"promotion", "/api/v1/promotions/flight"}, {"gates", "/api/v1/promotions/flight/gates"}, {"approvals", "/api/v1/promotions/flight/approvals"}}
		if n++; n%5 == 0 {
			reads = append(reads, struct{ what, path string }{"list", "/api/v1/promotions?limit=50"}, struct{ what, path string }{"status", "/api/v1/status"})
		}
		for _, r := range reads {
			if err := get(ctx, cookie, r.what, r.path); err != nil {
				return err
			}
		}
	}
}
