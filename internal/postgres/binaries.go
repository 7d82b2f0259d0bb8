package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// ErrNotInstalled means that PostgreSQL's programs are not on this machine.
var ErrNotInstalled = errors.New("PostgreSQL is not installed")

// Binaries is one installed version of PostgreSQL.
type Binaries struct {
	Dir   string // holds postgres, initdb, pg_dump …
	Major int
	Full  string // as pg_config or postgres reports it, for example "15.18"
}

// Path is the path of one program.
func (b Binaries) Path(program string) string { return filepath.Join(b.Dir, program) }

// FindServer returns the newest installed version that can run a server (initdb, postgres, pg_ctl).
// It errs with ErrNotInstalled and the package to install.
func FindServer(ctx context.Context) (Binaries, error) {
	found := installed(ctx, "postgres", "initdb", "pg_ctl")
	if len(found) == 0 {
		return Binaries{}, fmt.Errorf("looked for initdb, postgres and pg_ctl in /usr/lib/postgresql/*/bin, in pg_config's folder and on PATH: %w: apt-get install postgresql", ErrNotInstalled)
	}
	return found[len(found)-1], nil
}

// findServer is FindServer for one major version; 0: the newest.
func findServer(ctx context.Context, major int) (Binaries, error) {
	if major == 0 {
		return FindServer(ctx)
	}
	for _, b := range installed(ctx, "postgres", "initdb", "pg_ctl") {
		if b.Major == major {
			return b, nil
		}
	}
	return Binaries{}, fmt.Errorf("looked for initdb, postgres and pg_ctl of version %d: %w: apt-get install postgresql-%d", major, ErrNotInstalled, major)
}

// FindClient returns the pg_dump and pg_restore that fit a server of that major version: the same
// one, or else the next higher; a lower one cannot read the server. It errs with ErrNotInstalled.
func FindClient(ctx context.Context, major int) (Binaries, error) {
	found := installed(ctx, "pg_dump", "pg_restore")
	for _, b := range found {
		if b.Major >= major {
			return b, nil
		}
	}
	if len(found) == 0 {
		return Binaries{}, fmt.Errorf("looked for pg_dump and pg_restore: %w: apt-get install postgresql-client-%d", ErrNotInstalled, major)
	}
	return Binaries{}, fmt.Errorf("the server is version %d and the newest pg_dump here is %d, which cannot read it: %w in version %d: apt-get install postgresql-client-%d", major, found[len(found)-1].Major, ErrNotInstalled, major, major)
}

// installed lists the versions that have all the programs, oldest first.
func installed(ctx context.Context, programs ...string) []Binaries {
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if out, err := exec.CommandContext(ctx, "pg_config", "--bindir").Output(); err == nil {
		dirs = append(dirs, strings.TrimSpace(string(out)))
	}
	if path, err := exec.LookPath(programs[0]); err == nil {
		// Debian's wrapper in /usr/bin is a script that chooses a cluster; we mean one version.
		if real, err := filepath.EvalSymlinks(path); err == nil && filepath.Base(real) == programs[0] {
			dirs = append(dirs, filepath.Dir(real))
		}
	}
	var found []Binaries
	for _, dir := range dirs {
		if slices.ContainsFunc(found, func(b Binaries) bool { return b.Dir == dir }) {
			continue
		}
		if slices.ContainsFunc(programs, func(p string) bool { return !executable(filepath.Join(dir, p)) }) {
			continue
		}
		full, major, err := programVersion(ctx, filepath.Join(dir, programs[0]))
		if err != nil {
			continue
		}
		found = append(found, Binaries{Dir: dir, Major: major, Full: full})
	}
	slices.SortStableFunc(found, func(a, b Binaries) int { return a.Major - b.Major })
	return found
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

var versionNumber = regexp.MustCompile(`\(PostgreSQL\) (([0-9]+)[.0-9a-z]*)`)

// programVersion reads "postgres (PostgreSQL) 15.18 (Debian …)".
func programVersion(ctx context.Context, program string) (full string, major int, err error) {
	out, err := exec.CommandContext(ctx, program, "--version").Output()
	if err != nil {
		return "", 0, err
	}
	m := versionNumber.FindStringSubmatch(string(out))
	if m == nil {
		return "", 0, fmt.Errorf("%s --version says %q", program, strings.TrimSpace(string(out)))
	}
	major, err = strconv.Atoi(m[2])
	return m[1], major, err
}
