package faults

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/examples/acme"
	"github.com/waybill-dev/waybill/internal/estate"
)

// The corpus reads, and the estate that it is promoted under is one.
func TestCorpus(t *testing.T) {
	all, err := readFaults()
	require.NoError(t, err)
	core := 0
	for _, f := range all {
		if after := f.head["after"]; after != "" {
			require.True(t, slices.ContainsFunc(all, func(f fault) bool { return f.name == after }), "%s comes after %s", f.name, after)
		}
		if f.head["core"] == "yes" {
			core++
		}
	}
	require.Equal(t, 2, core, "two of them run with make test")
	all = append(all, cleanRelease(0))
	dir := t.TempDir()
	require.NoError(t, writeSource(t.Context(), filepath.Join(dir, "source"), all))
	require.NoError(t, acme.WriteEstate(filepath.Join(dir, "estate"), "", ""))
	require.NoError(t, writeEstate(filepath.Join(dir, "estate"), "127.0.0.1:8069", all, all[0]))
	_, err = estate.Load(t.Context(), filepath.Join(dir, "estate"))
	require.NoError(t, err)
}
