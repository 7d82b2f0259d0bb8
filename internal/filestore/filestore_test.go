package filestore

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/stretchr/testify/require"
)

// each runs a test on every kind of store; other is another one of the same kind, in the same folder or bucket.
func each(t *testing.T, test func(t *testing.T, s, other Store)) {
	t.Run("folder", func(t *testing.T) {
		dir := t.TempDir()
		test(t, Dir(filepath.Join(dir, "filestore", "acme")), Dir(filepath.Join(dir, "filestore", "beta")))
	})
	bucket := func(t *testing.T, url string) {
		b, err := OpenBucket(t.Context(), url)
		require.NoError(t, err)
		t.Cleanup(func() { _ = b.Close() })
		test(t, InBucket(b, "production/shared/acme/"), InBucket(b, "production/shared/acme2/"))
	}
	t.Run("bucket in a folder", func(t *testing.T) { bucket(t, "file://"+filepath.Join(t.TempDir(), "bucket")) })
	t.Run("bucket over S3", func(t *testing.T) {
		backend := s3mem.New()
		require.NoError(t, backend.CreateBucket("files"))
		server := httptest.NewServer(gofakes3.New(backend).Server())
		t.Cleanup(server.Close)
		t.Setenv("AWS_ACCESS_KEY_ID", "key")
		t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
		bucket(t, "s3://files?region=us-east-1&use_path_style=true&endpoint="+server.URL)
	})
}

func nameOf(content string) string {
	sum := sha1.Sum([]byte(content))
	name := hex.EncodeToString(sum[:])
	return name[:2] + "/" + name
}

func add(t *testing.T, s Store, content string) Added {
	t.Helper()
	added, err := s.Add(t.Context(), nameOf(content), int64(len(content)), func(w io.Writer) error {
		_, err := io.WriteString(w, content)
		return err
	})
	require.NoError(t, err)
	return added
}

func read(t *testing.T, s Store, name string) string {
	t.Helper()
	r, size, err := s.Open(t.Context(), name)
	require.NoError(t, err)
	content, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.EqualValues(t, len(content), size)
	return string(content)
}

func names(t *testing.T, s Store) []string {
	t.Helper()
	var all []string
	require.NoError(t, s.Each(t.Context(), func(name string, size int64) error {
		have, err := s.Stat(t.Context(), name)
		require.NoError(t, err)
		require.Equal(t, have, size)
		all = append(all, name)
		return nil
	}))
	slices.Sort(all)
	return all
}

func TestStore(t *testing.T) {
	each(t, func(t *testing.T, s, other Store) {
		ctx := t.Context()
		there, err := s.Exists(ctx)
		require.NoError(t, err)
		require.False(t, there)
		require.Empty(t, names(t, s))
		_, _, err = s.Open(ctx, nameOf("a"))
		require.ErrorIs(t, err, fs.ErrNotExist)
		_, err = s.Stat(ctx, nameOf("a"))
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.NoError(t, s.Delete(ctx, nameOf("a")))
		require.NoError(t, s.Unmark(ctx, nameOf("a")))
		require.NoError(t, s.RemoveAll(ctx))

		require.Equal(t, New, add(t, s, "a"))
		require.Equal(t, Kept, add(t, s, "a"))
		require.Equal(t, New, add(t, s, ""), "an empty file is one too")
		require.Equal(t, New, add(t, s, strings.Repeat("long ", 1<<20)))
		require.Equal(t, "a", read(t, s, nameOf("a")))
		require.Empty(t, read(t, s, nameOf("")))
		require.Len(t, names(t, s), 3)
		sizes, err := s.Sizes(ctx, nameOf("a")[:3])
		require.NoError(t, err)
		require.Equal(t, map[string]int64{nameOf("a"): 1}, sizes)
		sizes, err = s.Sizes(ctx, "00/")
		require.NoError(t, err)
		require.Empty(t, sizes)
		there, err = s.Exists(ctx)
		require.NoError(t, err)
		require.True(t, there)
		size, err := Size(ctx, s)
		require.NoError(t, err)
		require.EqualValues(t, 1+5<<20, size)

		require.NoError(t, s.Mark(ctx, nameOf("a")))
		require.NoError(t, s.Mark(ctx, nameOf("a")), "twice")
		require.NoError(t, s.Mark(ctx, nameOf("gone")))
		marked, err := s.Marked(ctx)
		require.NoError(t, err)
		require.ElementsMatch(t, []string{nameOf("a"), nameOf("gone")}, marked)
		require.Len(t, names(t, s), 3, "a mark is no file")
		require.NoError(t, s.Unmark(ctx, nameOf("gone")))

		require.NoError(t, Copy(ctx, s, other))
		require.NoError(t, Copy(ctx, s, other), "twice")
		require.Equal(t, names(t, s), names(t, other))
		require.Equal(t, "a", read(t, other, nameOf("a")))
		marked, err = other.Marked(ctx)
		require.NoError(t, err)
		require.Equal(t, []string{nameOf("a")}, marked)

		require.NoError(t, s.Delete(ctx, nameOf("a")))
		require.Len(t, names(t, s), 2)
		require.NoError(t, s.RemoveAll(ctx))
		there, err = s.Exists(ctx)
		require.NoError(t, err)
		require.False(t, there)
		require.Len(t, names(t, other), 3, "whose prefix only begins alike")
	})
}

// One that is there is never replaced, not even by a copy within a bucket; and a prefix with several pages of files is emptied.
func TestABucketOfMany(t *testing.T) {
	b, err := OpenBucket(t.Context(), "file://"+filepath.Join(t.TempDir(), "bucket"))
	require.NoError(t, err)
	defer b.Close()
	s, other := InBucket(b, "acme/"), InBucket(b, "beta/")
	add(t, s, "a")
	require.NoError(t, b.WriteAll(t.Context(), "beta/"+nameOf("a"), []byte("another"), nil))
	require.NoError(t, Copy(t.Context(), s, other))
	require.Equal(t, "another", read(t, other, nameOf("a")))
	for i := range 2500 {
		add(t, s, strings.Repeat("x", i))
	}
	require.NoError(t, s.RemoveAll(t.Context()))
	there, err := s.Exists(t.Context())
	require.NoError(t, err)
	require.False(t, there)
	require.Len(t, names(t, other), 1)
}

// Whatever goes wrong on its way, nothing is there that is not whole.
func TestNothingHalf(t *testing.T) {
	each(t, func(t *testing.T, s, _ Store) {
		broken := errors.New("the line was cut")
		name, content := nameOf("whole"), "whole"
		for what, try := range map[string]struct {
			size    int64
			content func(io.Writer) error
			err     error
		}{
			"cut":        {5, func(w io.Writer) error { _, _ = io.WriteString(w, "who"); return broken }, broken},
			"at once":    {5, func(io.Writer) error { return broken }, broken},
			"short":      {5, func(w io.Writer) error { _, err := io.WriteString(w, "whol"); return err }, ErrNotItsName},
			"another":    {5, func(w io.Writer) error { _, err := io.WriteString(w, "whale"); return err }, ErrNotItsName},
			"wrong size": {6, func(w io.Writer) error { _, err := io.WriteString(w, content); return err }, ErrNotItsName},
			"large, cut": {20 << 20, func(w io.Writer) error { _, _ = w.Write(make([]byte, 12<<20)); return broken }, broken},
		} {
			_, err := s.Add(t.Context(), name, try.size, try.content)
			require.ErrorIs(t, err, try.err, what)
			_, err = s.Stat(t.Context(), name)
			require.ErrorIs(t, err, fs.ErrNotExist, what)
		}
		ended, end := context.WithCancel(t.Context())
		end()
		_, err := s.Add(ended, name, 5, func(w io.Writer) error { _, err := io.WriteString(w, content); return err })
		require.ErrorIs(t, err, context.Canceled)
		require.NoError(t, s.Each(t.Context(), func(name string, _ int64) error {
			require.Equal(t, nameOf("whole"), name)
			return nil
		}))
		add(t, s, "whole")
		added, err := s.Add(t.Context(), name, 7, func(io.Writer) error { return errors.New("not asked for") })
		require.NoError(t, err)
		require.Equal(t, Conflict, added)
		require.Equal(t, "whole", read(t, s, name), "it stays")
	})
}

func TestNamesThatAreNone(t *testing.T) {
	each(t, func(t *testing.T, s, _ Store) {
		sum := nameOf("a")
		for _, name := range []string{"", "a", "..", "../" + sum, sum[3:], sum[:2] + "/../" + sum, "ff/" + sum[3:], strings.ToUpper(sum), sum + "/", "checklist/" + sum, sum[:2] + "/" + sum[3:] + "x"} {
			_, _, err := s.Open(t.Context(), name)
			require.ErrorContains(t, err, "no name of a file", name)
			_, err = s.Stat(t.Context(), name)
			require.ErrorContains(t, err, "no name of a file", name)
			_, err = s.Add(t.Context(), name, 1, func(io.Writer) error { return nil })
			require.ErrorContains(t, err, "no name of a file", name)
			for _, do := range []func(context.Context, string) error{s.Delete, s.Mark, s.Unmark} {
				require.ErrorContains(t, do(t.Context(), name), "no name of a file", name)
			}
		}
	})
}

// Odoo's folder is written to by code that nobody trusts.
func TestAFolderWithTraps(t *testing.T) {
	dir := t.TempDir()
	s := Dir(filepath.Join(dir, "acme"))
	add(t, s, "a")
	secret := filepath.Join(dir, "secret")
	require.NoError(t, os.WriteFile(secret, []byte("secret"), 0o600))
	link, folder := nameOf("link"), nameOf("folder")
	for _, name := range []string{link, folder} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "acme", name[:2]), 0o755))
	}
	require.NoError(t, os.Symlink(secret, filepath.Join(dir, "acme", link)))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "acme", folder), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "acme", "README"), nil, 0o644))
	for _, name := range []string{link, folder} {
		_, _, err := s.Open(t.Context(), name)
		require.ErrorIs(t, err, ErrNotItsName)
		_, err = s.Stat(t.Context(), name)
		require.ErrorIs(t, err, ErrNotItsName)
	}
	require.Equal(t, []string{nameOf("a")}, names(t, s))
	// A copy has what is the tenant's, also what is damaged or not Odoo's, and nothing of the machine's.
	rotten := nameOf("rotten")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "acme", rotten[:2]), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "acme", rotten), []byte("rotted"), 0o644))
	other := Dir(filepath.Join(dir, "beta"))
	require.NoError(t, Copy(t.Context(), s, other))
	require.ElementsMatch(t, []string{nameOf("a"), rotten}, names(t, other))
	require.FileExists(t, filepath.Join(dir, "beta", "README"))
	require.NoFileExists(t, filepath.Join(dir, "beta", link))
	entries, err := os.ReadDir(filepath.Join(dir, "acme", nameOf("a")[:2]))
	require.NoError(t, err)
	require.Len(t, entries, 1, "and nothing temporary")
}

// What it says of itself leads there: a person recovers with it.
func TestABucketSaysWhereItIs(t *testing.T) {
	at := "file://" + filepath.Join(t.TempDir(), "bucket") + "?prefix=files/"
	b, err := OpenBucket(t.Context(), at)
	require.NoError(t, err)
	defer b.Close()
	s := InBucket(b, "production/shared/acme%2F1/").Of(at)
	add(t, s, "a")
	again, closing, err := At(t.Context(), s.String())
	require.NoError(t, err)
	require.Equal(t, "a", read(t, again, nameOf("a")))
	require.NoError(t, closing())
}

func TestAt(t *testing.T) {
	dir := t.TempDir()
	for _, place := range []string{filepath.Join(dir, "folder"), "file://" + filepath.Join(dir, "bucket") + "?prefix=production/shared/acme/"} {
		s, closing, err := At(t.Context(), place)
		require.NoError(t, err)
		add(t, s, "a")
		require.Equal(t, "a", read(t, s, nameOf("a")))
		require.NoError(t, closing())
	}
	require.FileExists(t, filepath.Join(dir, "bucket", "production", "shared", "acme", nameOf("a")))
	_, _, err := At(t.Context(), "s4://nowhere")
	require.ErrorContains(t, err, "s4")
}
