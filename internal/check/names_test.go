package check

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNames(t *testing.T) {
	require.False(t, Names("").Has("a"))
	require.False(t, Names("").Has(""))
	require.Zero(t, Names("").Len())
	for n := range 40 {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf("m.%d", i*i))
		}
		names := NamesOf(slices.Values(append(slices.Clone(list), list...)))
		require.Equal(t, n, names.Len())
		for _, name := range list {
			require.True(t, names.Has(name), "%s in %q", name, names)
		}
		for _, name := range []string{"", "m", "m.", "m.2", "m.00", "m.99999", "z", "\n", "m.0\n"} {
			require.False(t, names.Has(name), "%q in %q", name, names)
		}
	}
	require.False(t, Names("a\nb\nc").Has("z"), "a text that was cut")
}
