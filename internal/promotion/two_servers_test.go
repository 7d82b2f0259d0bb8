package promotion

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/store/storetest"
)

// serverEnv makes this program one of the two servers of the tests below: it names the store.
const serverEnv = "WAYBILL_TEST_TWO_SERVERS"

const twoServers = "two-servers"

// rolloutsEnv says how many rollouts are under way at once.
const rolloutsEnv = "WAYBILL_TEST_ROLLOUTS"

var twoServerSteps = []string{"admit", "checkpoint", "hold", "update", "shift", "record"}

// countingProcedure has steps that write down, outside of what the engine keeps, that they were done, by whom and under which epoch.
func countingProcedure(s *store.Store, holder string) []Step {
	var steps []Step
	for _, name := range twoServerSteps {
		steps = append(steps, Step{Name: name, Do: func(ctx context.Context, w *Work) (string, error) {
			if _, err := s.Pool.Exec(ctx, "insert into did (rollout, step, epoch, holder) values ($1, $2, $3, $4)", w.rollout.ID, name, w.lease.Epoch, holder); err != nil {
				return "", err
			}
			_, err := s.Pool.Exec(ctx, "select pg_sleep(0.03)") // work elsewhere, in the middle of which a server can be killed
			w.memory.Checkpoint += name[:1]
			return "", err
		}})
	}
	return steps
}

// serveAsOneOfTwo runs a server until it is killed.
func serveAsOneOfTwo(url string) error {
	holder := "server-" + strconv.Itoa(os.Getpid())
	s, err := store.Open(context.Background(), url)
	if err != nil {
		return err
	}
	defer s.Close()
	procedures[twoServers] = countingProcedure(s, holder)
	e, err := New(Rooms{Store: s, Place: func(context.Context, estate.Environment) (Place, error) { return Place{}, nil }}, holder, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // the end of the test is the end of its servers
		_, _ = bufio.NewReader(os.Stdin).ReadByte()
		cancel()
	}()
	return e.Run(ctx)
}

// One of two servers is killed, or stopped for longer than its lease and then let go on, while all rollouts are under way. Each step of
// each is done to its end exactly once, in order, and what it remembers is what it did.
func TestTwoServers(t *testing.T) {
	long.Test(t)
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP} {
		t.Run(signal.String(), func(t *testing.T) {
			n := 24
			if told := os.Getenv(rolloutsEnv); told != "" {
				var err error
				n, err = strconv.Atoi(told)
				require.NoError(t, err)
			}
			url := storetest.Database(t, cluster(t))
			s, err := store.Open(t.Context(), url)
			require.NoError(t, err)
			t.Cleanup(s.Close)
			_, err = s.Pool.Exec(t.Context(), "create table did (rollout text, step text, epoch bigint, holder text, at timestamptz default clock_timestamp())")
			require.NoError(t, err)
			servers := []*exec.Cmd{oneOfTwo(t, url), oneOfTwo(t, url)}

			procedures[twoServers] = countingProcedure(s, "nobody")
			t.Cleanup(func() { delete(procedures, twoServers) })
			e, err := New(Rooms{Store: s, Place: func(context.Context, estate.Environment) (Place, error) { return Place{}, nil }}, "asks", slog.New(slog.DiscardHandler), nil)
			require.NoError(t, err)
			declared := &estate.Estate{Environments: []estate.Environment{{Name: twoServers}}}
			for i := range n {
				name := fmt.Sprintf("t%03d", i)
				declared.Tenants = append(declared.Tenants, estate.Tenant{Name: name, Environment: twoServers, Database: name, Hosts: []string{name + ".example"}})
			}
			start := time.Now()
			id, err := e.Start(t.Context(), declared, Request{Kind: twoServers, Environment: twoServers, By: "ann"})
			require.NoError(t, err)

			count := func(sql string, args ...any) (n int) {
				require.NoError(t, s.Pool.QueryRow(t.Context(), sql, args...).Scan(&n))
				return n
			}
			until := func(what, sql string, args ...any) {
				require.Eventually(t, func() bool { return count(sql, args...) > 0 }, 5*time.Minute, 5*time.Millisecond, what)
			}
			victim := "server-" + strconv.Itoa(servers[0].Process.Pid)
			until("both servers are at work", "select count(*) from (select from did where holder = $1 limit 1) a, (select from did where holder <> $1 limit 1) b", victim)
			until("it is the middle of the work", "select case when count(*) >= $1 then 1 else 0 end from did", n*len(twoServerSteps)/3)
			until("the victim is in the middle of a step", "select count(*) from rollouts where holder = $1 and lease_until is not null", victim)
			require.NoError(t, servers[0].Process.Signal(signal))
			hit := time.Now()
			if signal == syscall.SIGSTOP {
				until("the other one has taken over", "select case when count(*) = 0 then 1 else 0 end from rollouts where holder = $1", victim)
				require.NoError(t, servers[0].Process.Signal(syscall.SIGCONT))
			}
			until("all have ended", "select case when count(*) = 0 then 1 else 0 end from rollouts where promotion_id = $1 and state <> 'done'", id)
			t.Logf("%d rollouts of %d steps, %s after %.1f s, all ended %.1f s later", n, len(twoServerSteps), signal, hit.Sub(start).Seconds(), time.Since(hit).Seconds())

			again := count("select count(*) from did") - n*len(twoServerSteps)
			cut := count("select count(*) from steps where outcome <> 'done'")
			t.Logf("%d steps were begun again, which had been cut off", again)
			require.LessOrEqual(t, again, cut, "a step that was done to its end is never begun again")
			require.Positive(t, cut, "a server was hit in the middle of a step")
			require.Zero(t, count("select count(*) from steps where outcome not in ('done', 'interrupted')"))
			require.Equal(t, n, count("select count(*) from rollouts where promotion_id = $1 and outcome = 'promoted'", id))
			require.Equal(t, n, count(`select count(*) from (select rollout_id from steps where outcome = 'done' group by rollout_id
				having array_agg(name order by seq) = $1) x`, twoServerSteps), "each step of each rollout is done once, in order")
			require.Zero(t, count(`select count(*) from did d join steps s on s.rollout_id = d.rollout and s.name = d.step and s.outcome = 'done'
				where d.epoch > s.epoch`), "nobody did a step again after it had been done")
			var letters strings.Builder
			for _, name := range twoServerSteps {
				letters.WriteString(name[:1])
			}
			require.Equal(t, n, count("select count(*) from rollouts where promotion_id = $1 and memory->>'checkpoint' = $2", id, letters.String()), "what a rollout remembers is what was done")
			p, err := s.Promotion(t.Context(), id)
			require.NoError(t, err)
			require.Equal(t, store.Promoted, p.Outcome)
		})
	}
}

func oneOfTwo(t *testing.T, url string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0], "-test.run", "^$")
	cmd.Env = append(os.Environ(), serverEnv+"="+url)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	return cmd
}
