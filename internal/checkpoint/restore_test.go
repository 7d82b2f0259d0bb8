package checkpoint

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestARestoreWaitsForTheDiskOnlyAtItsEnd(t *testing.T) {
	const off = "PGOPTIONS=-c synchronous_commit=off"
	require.Equal(t, []string{"PGHOST=h", off}, unhurried([]string{"PGHOST=h"}))
	require.Equal(t, []string{"PGOPTIONS=-c geqo=off -c synchronous_commit=off", "PGHOST=h"}, unhurried([]string{"PGOPTIONS=-c geqo=off", "PGHOST=h"}), "what the administrator's URL says stays")
}
