package rehearsal

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCorpusIsWhole(t *testing.T) {
	changes, err := readChanges()
	require.NoError(t, err)
	core := 0
	for _, c := range changes {
		assert.Contains(t, []string{"swap", "compatible", "breaking", "fails"}, c.expect["class"], c.name)
		assert.Contains(t, c.old, c.module()+"/__manifest__.py")
		assert.Contains(t, c.new, c.module()+"/__manifest__.py")
		if c.expect["core"] == "yes" {
			core++
		}
	}
	assert.GreaterOrEqual(t, len(changes), 18)
	assert.Equal(t, 6, core)
	require.NoError(t, writeSource(t.Context(), t.TempDir(), changes))
}
