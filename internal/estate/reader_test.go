package estate

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/long"
)

func TestReaderSeesEveryChange(t *testing.T) {
	long.Test(t)
	dir := write(t, map[string]string{"product.yaml": productYAML, "test.yaml": environmentYAML, "access.yaml": "kind: Access\nusers:\n  - name: anna\n    roles: [{role: viewer, environments: [test]}]\n"})
	r := Reader{}
	load := func() *Estate {
		t.Helper()
		e, err := r.Load(t.Context(), dir)
		require.NoError(t, err)
		fresh, err := Load(t.Context(), dir)
		require.NoError(t, err)
		require.Equal(t, fresh, e, "what is kept is what there is")
		return e
	}
	settle := func() {
		t.Helper()
		require.Eventually(t, func() bool {
			load()
			return r.kept != nil
		}, 10*time.Second, 50*time.Millisecond, "what is not touched is kept")
	}
	settle()
	kept := r.kept
	e := load()
	require.Same(t, kept, r.kept, "it was not read again")
	require.NotSame(t, e, load(), "each has one of their own")
	access, err := r.Access(t.Context(), dir)
	require.NoError(t, err)
	require.Equal(t, "anna", access.Users[0].Name)

	// The same length, and the time put back: still another file.
	path := filepath.Join(dir, "access.yaml")
	was, err := os.Stat(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, []byte("kind: Access\nusers:\n  - name: bert\n    roles: [{role: viewer, environments: [test]}]\n"), 0o644))
	require.NoError(t, os.Chtimes(path, was.ModTime(), was.ModTime()))
	require.Equal(t, "bert", load().Access.Users[0].Name)
	require.Nil(t, r.kept, "what has just changed may change again within one tick of the clock")

	settle()
	require.NoError(t, os.WriteFile(path, []byte("kind: Nothing\n"), 0o644))
	_, err = r.Load(t.Context(), dir)
	require.ErrorContains(t, err, "access.yaml")
	_, err = r.Access(t.Context(), dir)
	require.Error(t, err, "an estate that does not parse lets nobody in")
	require.NoError(t, os.Remove(path))
	require.Empty(t, load().Access.Users)

	other := write(t, map[string]string{"product.yaml": productYAML, "test.yaml": environmentYAML})
	e, err = r.Load(t.Context(), other)
	require.NoError(t, err)
	require.Equal(t, other, e.Root)
	_, err = r.Load(t.Context(), filepath.Join(dir, "nowhere"))
	require.ErrorContains(t, err, "does not exist")
}

// A link leads to a file that its folder's walk does not come by.
func TestReaderFollowsLinks(t *testing.T) {
	dir := write(t, map[string]string{"product.yaml": productYAML, ".kept/env": environmentYAML})
	require.NoError(t, os.Symlink(".kept/env", filepath.Join(dir, "env.yaml")))
	r := Reader{}
	first, err := r.Load(t.Context(), dir)
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:8079", first.Environments[0].Runtime.Docker.HTTP)
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".kept/env"), []byte(strings.Replace(environmentYAML, "8079", "9079", 1)), 0o644))
	e, err := r.Load(t.Context(), dir)
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:9079", e.Environments[0].Runtime.Docker.HTTP)
}
