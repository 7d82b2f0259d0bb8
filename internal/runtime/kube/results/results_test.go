package results

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/runtime"
)

func TestRoundTrip(t *testing.T) {
	dir := t.TempDir()
	big := bytes.Repeat([]byte("x\n"), runtime.MaxOutBytes/2)
	want := runtime.Files{"result.json": []byte(`{"outcome": "committed"}`), "empty": {}, "a name\n": []byte("."), "big": big}
	for name, content := range want {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	require.NoError(t, os.Symlink("/etc/passwd", filepath.Join(dir, "link")))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var log strings.Builder
	require.NoError(t, Run(ctx, dir, &log))
	got, err := Parse(log.String())
	require.NoError(t, err)
	require.Equal(t, want, got)

	_, err = Parse(log.String()[:log.Len()-2])
	require.ErrorContains(t, err, "cut off")
	_, err = Parse("Li4vYQ== YQ==\n.\n") // ../a
	require.ErrorContains(t, err, "is no file")
	_, err = Parse("YQ== %%\n.\n")
	require.ErrorContains(t, err, "does not read")
}

// The small ones are what counts: what a job says of itself is never crowded out by a trace.
func TestWhatDoesNotFitIsLeftOut(t *testing.T) {
	dir := t.TempDir()
	for _, name := range strings.Split("a b c d e f g h", " ") {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), make([]byte, 1<<20), 0o600))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "z.json"), []byte("{}"), 0o600))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var log strings.Builder
	require.NoError(t, Run(ctx, dir, &log))
	require.Less(t, log.Len(), 9<<20)
	got, err := Parse(log.String())
	require.NoError(t, err)
	require.Contains(t, got, "z.json")
	require.Len(t, got, 6)
}
