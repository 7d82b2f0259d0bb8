package checkpoint

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAt(t *testing.T) {
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	list := []Info{{ID: "c", RecoveryPoint: noon.Add(-time.Hour)}, {ID: "b", RecoveryPoint: noon.Add(-3 * time.Hour)}, {ID: "a", RecoveryPoint: noon.Add(-5 * time.Hour)}}
	for _, test := range []struct {
		list []Info
		at   time.Time
		want string
		says string
	}{
		{list, noon, "c", ""},
		{list, noon.Add(-time.Hour), "c", ""}, // at that very time
		{list, noon.Add(-time.Hour - time.Nanosecond), "b", ""},
		{list, noon.Add(-5 * time.Hour), "a", ""},
		{list, noon.Add(-6 * time.Hour), "", "the oldest, a, is of 2026-11-22T07:00:00Z"},
		{list, noon.Add(time.Second), "", "in the future"},
		{nil, noon, "", "no checkpoint at all"},
	} {
		got, err := At(test.list, test.at, noon)
		if test.says != "" {
			require.ErrorContains(t, err, test.says)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, test.want, got.ID)
	}
}
