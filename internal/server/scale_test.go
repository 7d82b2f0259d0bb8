package server

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/neighbour"
	"github.com/waybill-dev/waybill/internal/runtime"
	"github.com/waybill-dev/waybill/internal/store"
)

// scales notes what it is told.
type scales struct {
	told []string
	fail map[string]error // by pool
}

func (s *scales) ScalePool(_ context.Context, environment, pool string, web runtime.Scale) error {
	s.told = append(s.told, fmt.Sprintf("%s/%s %d-%d", environment, pool, web.Min, web.Max))
	return s.fail[pool]
}

func (s *scales) since() []string {
	told := s.told
	s.told = nil
	return told
}

func TestFloorsAreAppliedWhenTheyBeginAndEnd(t *testing.T) {
	env := estate.Environment{Name: "production", Scale: &estate.Scale{
		Web:    estate.WebPods{Min: 2, Max: 8, CPU: 70},
		Floors: []estate.PodFloor{{Name: "morning", RRule: "FREQ=DAILY", From: "05:30", To: "09:00", Timezone: "Europe/Berlin", Web: 6}},
	}}
	pools := []store.Pool{{Name: "old"}, {Name: "new"}}
	to := &scales{fail: map[string]error{}}
	scaling := newScaling(to)
	apply := func(at string, with ...store.Pool) []string {
		t.Helper()
		now, err := time.Parse(time.RFC3339, at)
		require.NoError(t, err)
		_, err = scaling.apply(t.Context(), env, with, now)
		require.NoError(t, err)
		return to.since()
	}
	require.Equal(t, []string{"production/old 2-8", "production/new 2-8"}, apply("2026-11-23T04:25:00Z", pools...))
	require.Empty(t, apply("2026-11-23T04:29:00Z", pools...), "nothing has changed")
	require.Equal(t, []string{"production/old 6-8", "production/new 6-8"}, apply("2026-11-23T04:30:00Z", pools...))
	require.Equal(t, []string{"production/old 6-8", "production/new 6-8"}, apply("2026-11-23T04:40:00Z", pools...), "once more, now and then")
	require.Equal(t, []string{"production/old 2-8", "production/new 2-8"}, apply("2026-11-23T08:00:00Z", pools...))

	// A server that starts in the middle of one applies it, and so it does where one ended while none ran.
	scaling = newScaling(to)
	require.Equal(t, []string{"production/new 6-8"}, apply("2026-11-24T06:00:00Z", pools[1]))
	scaling = newScaling(to)
	require.Equal(t, []string{"production/new 2-8"}, apply("2026-11-24T09:00:00Z", pools[1]))

	// One that is not there yet is looked at again, and one that fails is tried again, whatever becomes of the others.
	to.fail["new"] = runtime.ErrNotFound
	apply("2026-11-25T04:30:00Z", pools...)
	require.Equal(t, []string{"production/new 6-8"}, apply("2026-11-25T04:31:00Z", pools...))
	to.fail["old"], to.fail["new"] = errors.New("away"), nil
	now := time.Date(2026, 11, 25, 8, 0, 0, 0, time.UTC)
	changed, err := scaling.apply(t.Context(), env, pools, now)
	require.ErrorContains(t, err, "away")
	require.Equal(t, []string{"new"}, changed)
	to.since()
	_, err = scaling.apply(t.Context(), env, pools, now.Add(time.Minute))
	require.Error(t, err)
	require.Equal(t, []string{"production/old 2-8"}, to.since())

	// Where the estate does not say it any more, there is one.
	env.Scale = nil
	delete(to.fail, "old")
	require.Equal(t, []string{"production/old 1-0", "production/new 1-0"}, apply("2026-11-25T12:00:00Z", pools...))
}

func TestUntilTheNextMinute(t *testing.T) {
	require.Equal(t, 500*time.Millisecond, untilNext(time.Date(2026, 11, 25, 4, 29, 59, 5e8, time.UTC)))
	require.Equal(t, time.Minute, untilNext(time.Date(2026, 11, 25, 4, 30, 0, 0, time.UTC)))
}

func TestRoomOfPoolsOfSeveralPods(t *testing.T) {
	pools := []store.Pool{{Name: "a", Workers: 2}, {Name: "b"}, {Name: "c", Workers: 4}}
	running := []runtime.PoolState{{Name: "a", Bridges: []string{"1", "2", "3"}}, {Name: "b", Bridges: []string{"1", "2"}}}
	require.Equal(t, []neighbour.Pool{{Name: "a", Workers: 6}, {Name: "b", Workers: 2}, {Name: "c", Workers: 4}}, roomOf(pools, running))
}
