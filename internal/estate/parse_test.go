package estate

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden parts of testdata anew; look at the difference before you commit it")

// archive reads a txtar file: the estate's files, and the golden part under the name given.
func archive(t *testing.T, file, golden string) (files map[string][]byte, want string) {
	t.Helper()
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	files = map[string][]byte{}
	for _, f := range txtar.Parse(content).Files {
		if f.Name == golden {
			want = string(f.Data)
			continue
		}
		files[f.Name] = f.Data
	}
	return files, want
}

func golden(t *testing.T, file, name, got string) {
	t.Helper()
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	a := txtar.Parse(content)
	kept := a.Files[:0]
	for _, f := range a.Files {
		if f.Name != name {
			kept = append(kept, f)
		}
	}
	a.Files = append(kept, txtar.File{Name: name, Data: []byte(got)})
	require.NoError(t, os.WriteFile(file, txtar.Format(a), 0o644))
}

func corpus(t *testing.T, folder string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join("testdata", folder, "*.txtar"))
	require.NoError(t, err)
	require.NotEmpty(t, found, "testdata/%s holds no case", folder)
	return found
}

// Every bad estate gives exactly the messages written down beside it.
func TestParseBad(t *testing.T) {
	for _, file := range corpus(t, "bad") {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			files, want := archive(t, file, "want")
			e, err := Parse(files)
			require.Error(t, err)
			require.Nil(t, e)
			got := err.Error() + "\n"
			if *update {
				golden(t, file, "want", got)
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("messages (-want +got):\n%s", diff)
			}
			require.NotEmpty(t, Problems(err))
			require.NotContains(t, got, "hunter2", "a secret was repeated")
			require.NotContains(t, got, "12345", "a secret was repeated")
		})
	}
}

// Every good estate gives exactly the state, defaults included, written down beside it.
func TestParseGood(t *testing.T) {
	for _, file := range corpus(t, "good") {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			files, want := archive(t, file, "want.json")
			e, err := Parse(files)
			require.NoError(t, err)
			out, err := json.MarshalIndent(e, "", "  ")
			require.NoError(t, err)
			got := string(out) + "\n"
			if *update {
				golden(t, file, "want.json", got)
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("estate (-want +got):\n%s", diff)
			}
		})
	}
}
