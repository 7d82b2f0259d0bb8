package build

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/registry"
)

// What is remembered must be what Git says when it is asked for each folder: over lines of commits,
// reverts, merges, empty commits and modules that come and go.
func TestLastChangesAreGits(t *testing.T) {
	long.Test(t)
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 7))
			r := newRepo(t)
			folders := []string{"addons/a", "addons/b", "addons/c", "more/a"}
			for _, folder := range folders {
				r.write(folder+"/f", "0")
			}
			r.commit("first")
			known := newRecall(t.TempDir())
			carried := 0
			for step := range 30 {
				folder := folders[random.IntN(len(folders))]
				switch n := random.IntN(10); {
				case n < 5:
					r.write(folder+"/f", fmt.Sprint(random.IntN(3))) // now and then as it was before
				case n < 6:
					r.write("elsewhere", fmt.Sprint(step))
				case n < 7:
					require.NoError(t, os.RemoveAll(filepath.Join(r.dir, folder)))
					r.write(folder+"/sub/deep/f", fmt.Sprint(step))
				case n < 8:
					r.git("checkout", "-q", "-b", fmt.Sprintf("side%d", step))
					r.write(folder+"/side", fmt.Sprint(step))
					r.commit("side")
					r.git("checkout", "-q", "main")
					r.write("elsewhere", fmt.Sprint(step))
					r.commit("main")
					r.git("merge", "-q", "--no-edit", fmt.Sprintf("side%d", step))
				}
				r.git("add", "-A")
				r.git("commit", "-q", "--allow-empty", "-m", fmt.Sprint(step))
				if random.IntN(3) == 0 {
					continue // not each commit is built
				}
				repo, err := openRepository(t.Context(), r.dir)
				require.NoError(t, err)
				commit := r.git("rev-parse", "HEAD")
				table, err := repo.carryOver(t.Context(), commit, func(c string) map[string]int64 {
					found := map[string]int64{}
					k := newRecallKey("history")
					k.add(c)
					known.get(k, &found)
					return found
				})
				require.NoError(t, err)
				carried += len(table)
				got, err := repo.lastChanges(t.Context(), commit, folders, repo.carry(t.Context(), commit, known))
				require.NoError(t, err)
				again, err := repo.lastChanges(t.Context(), commit, folders, repo.carry(t.Context(), commit, known))
				require.NoError(t, err)
				require.Equal(t, got, again)
				for _, folder := range folders {
					want, err := repo.lastChange(t.Context(), commit, folder)
					require.NoError(t, err)
					require.Equal(t, want, got[folder], "step %d: %s", step, folder)
				}
			}
			require.Positive(t, carried, "something was taken over")
		})
	}
}

// A registry that has nothing gets layers that this machine remembers, written only then.
func TestRememberedLayersAreWrittenForAnotherRegistry(t *testing.T) {
	b, rel, _ := released(t)
	again, err := Build(t.Context(), b.options)
	require.NoError(t, err)
	require.Equal(t, rel, again)

	handler, err := registry.Handler(t.TempDir(), func(string, string) bool { return true })
	require.NoError(t, err)
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	options := b.options
	options.Base = b.registry.Host + "/odoo@" + rel.Base.Digest
	options.Registry = Registry{Host: server.Listener.Addr().String(), User: "u", Password: "p"}
	elsewhere, err := Build(t.Context(), options)
	require.NoError(t, err)
	c, err := Reproduce(t.Context(), ReproduceOptions{Ref: "acme@" + elsewhere.Digest, Source: options.Source, Registry: options.Registry, Cache: t.TempDir(), Waybill: "v1.2.3"})
	require.NoError(t, err)
	require.True(t, c.Same)
}

// A cache that lies is found out where it matters, and forgets.
func TestCacheThatLies(t *testing.T) {
	b, rel, _ := released(t)
	lies := 0
	require.NoError(t, filepath.WalkDir(filepath.Join(b.options.Cache, "build"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		var layer recalledLayer
		content, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(content), "DiffID") {
			return err
		}
		if err := json.Unmarshal(content, &layer); err != nil {
			return err
		}
		layer.Digest.Hex = strings.Repeat("0", 64)
		lies++
		if content, err = json.Marshal(layer); err != nil {
			return err
		}
		return os.WriteFile(path, content, 0o644)
	}))
	require.Equal(t, 2, lies)
	for range lies { // one is found out at a time, at least
		if _, err := Build(t.Context(), b.options); err == nil {
			break
		} else {
			require.ErrorContains(t, err, "a layer came out differently than the cache says, which now forgets it; build again")
		}
	}
	again, err := Build(t.Context(), b.options)
	require.NoError(t, err)
	require.Equal(t, rel, again)
}
