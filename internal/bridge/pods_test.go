package bridge

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// podsThat are servers that answer each path as given, and a client of all of them.
func podsThat(t *testing.T, answers ...map[string]any) (*Client, []*atomic.Int64) {
	t.Helper()
	var all []string
	var asked []*atomic.Int64
	for _, answer := range answers {
		n := &atomic.Int64{}
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n.Add(1)
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(answer[r.URL.Path])
		}))
		t.Cleanup(s.Close)
		all, asked = append(all, s.URL), append(asked, n)
	}
	c := NewClientOf(func(context.Context) ([]string, error) { return all, nil }, func(context.Context) ([][]byte, error) { return [][]byte{testKey}, nil })
	t.Cleanup(c.Close)
	return c, asked
}

func TestPoolIsReadyWhenEachPodIs(t *testing.T) {
	const path = "/waybill/v1/ready"
	c, asked := podsThat(t,
		map[string]any{path: Readiness{Ready: true, Generation: 7, Seconds: 1}},
		map[string]any{path: Readiness{Reason: "the registry is not loaded", Generation: 6, Seconds: 3}},
		map[string]any{path: Readiness{Ready: true, Generation: 5, Seconds: 2}})
	got, err := c.Ready(t.Context(), "x")
	require.NoError(t, err)
	require.Equal(t, Readiness{Reason: "the registry is not loaded", Generation: 5, Seconds: 3}, got)
	for _, n := range asked {
		require.EqualValues(t, 1, n.Load())
	}
	none := NewClientOf(func(context.Context) ([]string, error) { return nil, nil }, nil)
	_, err = none.Ready(t.Context(), "x")
	require.ErrorIs(t, err, ErrUnreachable)
}

func TestSignalsOfAllPodsAreAddedUp(t *testing.T) {
	const path = "/waybill/v1/signals"
	one := Signals{Source: 1, Since: 100,
		Calls: []Call{{Name: "order_confirm", Counts: Counts{Total: 3, Failed: 1, Seconds: 1, Buckets: []int64{1, 1}}}, {Name: "reserve", Counts: Counts{Total: 1, Buckets: []int64{1, 0}}}},
		Cron:  &CronState{Due: 2}, Mail: &Backlog{Waiting: 5},
		Log:      LogCounts{Error: 1, Loggers: []LoggerLine{{Logger: "a", Error: 1}}, Messages: []Message{{Level: "error", Text: "x", Count: 1, Ago: 9}}},
		Problems: []string{"p"}}
	two := Signals{Source: 2, Since: 200,
		Calls: []Call{{Name: "order_confirm", Counts: Counts{Total: 5, Refused: 2, Seconds: 2, Buckets: []int64{2, 1}}, Synthetic: Counts{Total: 1, Buckets: []int64{0, 1}}}},
		Cron:  &CronState{Due: 2}, Mail: &Backlog{Waiting: 5},
		Log: LogCounts{Error: 2, Loggers: []LoggerLine{{Logger: "a", Error: 1}, {Logger: "b", Error: 1}},
			Messages: []Message{{Level: "error", Text: "y", Count: 1, Ago: 5}, {Level: "error", Text: "x", Count: 2, Ago: 3}}},
		Problems: []string{"p"}}
	c, _ := podsThat(t, map[string]any{path: one}, map[string]any{path: two})
	got, err := c.Signals(t.Context(), "x")
	require.NoError(t, err)
	require.Equal(t, []Call{
		{Name: "order_confirm", Counts: Counts{Total: 8, Failed: 1, Refused: 2, Seconds: 3, Buckets: []int64{3, 2}}, Synthetic: Counts{Total: 1, Buckets: []int64{0, 1}}},
		{Name: "reserve", Counts: Counts{Total: 1, Buckets: []int64{1, 0}}},
	}, got.Calls)
	require.EqualValues(t, 2, got.Cron.Due, "of the database, and told by both")
	require.EqualValues(t, 5, got.Mail.Waiting)
	require.EqualValues(t, 200, got.Since)
	require.EqualValues(t, 3, got.Log.Error)
	require.Equal(t, []LoggerLine{{Logger: "a", Error: 2}, {Logger: "b", Error: 1}}, got.Log.Loggers)
	require.Equal(t, []Message{{Level: "error", Text: "x", Count: 3, Ago: 3}, {Level: "error", Text: "y", Count: 1, Ago: 5}}, got.Log.Messages)
	require.Equal(t, []string{"p"}, got.Problems)

	// Whoever reads the counts sees by the source that a pod came, went or began anew; their order does not matter.
	again, other := two, two
	other.Source = 3
	require.Equal(t, got.Source, sumSignals([]Signals{again, one}).Source)
	for _, set := range [][]Signals{{one}, {two}, {one, other}, {one, two, other}} {
		require.NotEqual(t, got.Source, sumSignals(set).Source)
	}
	require.Equal(t, one, sumSignals([]Signals{one}), "one pod is told as it tells")
}

// Flows are of the database: one pod runs them, the same one each time.
func TestFlowsRunInOnePod(t *testing.T) {
	const path = "/waybill/v1/flows"
	c, asked := podsThat(t, map[string]any{path: map[string]any{"flows": []Flow{{Name: "a", Outcome: FlowPassed}}}}, map[string]any{})
	for range 3 {
		_, err := c.Flows(t.Context(), FlowsRequest{Database: "x"})
		require.NoError(t, err)
	}
	require.EqualValues(t, 3, asked[0].Load())
	require.Zero(t, asked[1].Load())
}
