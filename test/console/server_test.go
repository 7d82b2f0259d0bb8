//go:build browser

package console_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"embed"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/examples/acme/stage"
	"github.com/waybill-dev/waybill/examples/acme/waybill"
)

//go:embed estate
var declared embed.FS

// server is a `waybill up` in a folder of its own.
type server struct {
	t         *testing.T
	folder    string
	cli       waybill.CLI
	url       string
	passwords map[string]string // of this run, by user
	digests   map[string]string // of the releases, by name
}

// start brings a server up, with the core's estate and no engine to run anything on: what the core looks at is decided before anything runs.
func start(t *testing.T) *server {
	t.Helper()
	o, err := stage.Here(interrupted, "console")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(o.Folder, 0o755)) // the databases' unprivileged user must get through
	t.Cleanup(func() { _ = os.RemoveAll(o.Folder); _ = os.Remove(o.Binary) })
	s := &server{t: t, folder: o.Folder, cli: waybill.CLI{Binary: o.Binary, Data: filepath.Join(o.Folder, "data")}, passwords: map[string]string{}, digests: map[string]string{}}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	require.NoError(t, listener.Close())
	s.url = "http://" + address
	s.writeEstate()
	up, err := s.cli.Up(interrupted, waybill.Up{Estate: s.path("estate"), Listen: address, Log: s.path("waybill.log"), WithParent: true,
		Environment: []string{"DOCKER_HOST=unix://" + s.path("no-engine.sock")}})
	require.NoError(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(waybill.Tail(s.path("waybill.log")))
		}
		if err := up.Stop(); err != nil {
			t.Error(err)
		}
		s.stopTenants()
	})
	return s
}

func (s *server) path(name string) string { return filepath.Join(s.folder, name) }

// stopTenants stops the tenants' PostgreSQL, which goes on after its server by intention.
func (s *server) stopTenants() {
	command := exec.Command(s.cli.Binary, "down", "--data", s.cli.Data)
	command.Env = append(os.Environ(), "DOCKER_HOST=unix://"+s.path("no-engine.sock"))
	if out, err := command.CombinedOutput(); err != nil {
		s.t.Logf("waybill down: %v: %s", err, out)
	}
	if lines, err := os.ReadFile(filepath.Join(s.cli.Data, "postgres-tenants", "data", "postmaster.pid")); err == nil {
		s.t.Errorf("the tenants' PostgreSQL still runs: %s", strings.SplitN(string(lines), "\n", 2)[0])
	}
}

func (s *server) writeEstate() {
	s.t.Helper()
	files, err := fs.Sub(declared, "estate")
	require.NoError(s.t, err)
	require.NoError(s.t, os.CopyFS(s.path("estate"), files))
	s.git("estate", "init", "-q", "-b", "main")
	s.commit("estate", "Acme IT <it@acme.example>", "Acme's estate")
}

func (s *server) git(folder string, args ...string) {
	s.t.Helper()
	command := exec.CommandContext(interrupted, "git", args...)
	command.Dir = s.path(folder)
	out, err := command.CombinedOutput()
	require.NoError(s.t, err, "git %v: %s", args, out)
}

func (s *server) commit(folder, author, message string) {
	s.t.Helper()
	name, address, _ := strings.Cut(strings.TrimSuffix(author, ">"), " <")
	s.git(folder, "add", "-A")
	s.git(folder, "-c", "user.name="+name, "-c", "user.email="+address, "commit", "-q", "--no-gpg-sign", "-m", message)
}

// ask runs a verb as the owner of the data folder.
func (s *server) ask(result any, args ...string) {
	s.t.Helper()
	require.NoError(s.t, s.cli.Ask(interrupted, result, args...))
}

// givePasswords does what an admin does for each user.
func (s *server) givePasswords(names ...string) {
	s.t.Helper()
	for _, name := range names {
		s.passwords[name] = rand.Text()
		command := exec.CommandContext(interrupted, s.cli.Binary, "user", "password", name, "--data", s.cli.Data)
		command.Stdin = strings.NewReader(s.passwords[name] + "\n")
		out, err := command.CombinedOutput()
		require.NoError(s.t, err, "waybill user password %s: %s", name, out)
	}
}

// releases are built by the binary, on a base with as little of Odoo as a build looks at.
func (s *server) buildReleases(names ...string) {
	s.t.Helper()
	s.writeBase(s.path("base.tar"))
	s.ask(nil, "base", "import", "--name", "odoo:19.0", "rootfs:"+s.path("base.tar"))
	require.NoError(s.t, os.MkdirAll(s.path("source"), 0o755))
	s.git("source", "init", "-q", "-b", "main")
	for i, name := range names {
		s.writeAddons(i + 1)
		s.commit("source", "Dora Developer <dora@acme.example>", "Release "+name)
		var built struct {
			Digest string `json:"digest"`
		}
		s.ask(&built, "build", "--source", s.path("source"), "--name", name)
		s.digests[name] = built.Digest
	}
}

func (s *server) writeBase(file string) {
	s.t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	odoo := "usr/lib/python3/dist-packages/odoo/"
	for _, f := range [][2]string{
		{"usr/bin/python3.13", ""},
		{"var/lib/dpkg/status", "Package: odoo-19\nStatus: install ok installed\nArchitecture: all\nVersion: 19.0.0+dfsg-1\n"},
		{odoo + "release.py", "FINAL = 'final'\nversion_info = (19, 0, 0, FINAL, 0, '')\n"},
		{odoo + "addons/base/__manifest__.py", "{'name': 'Base', 'version': '1.3', 'installable': True}"},
		{odoo + "addons/base/__init__.py", ""},
	} {
		require.NoError(s.t, w.WriteHeader(&tar.Header{Name: f[0], Mode: 0o644, Size: int64(len(f[1])), ModTime: time.Unix(1700000000, 0)}))
		_, err := w.Write([]byte(f[1]))
		require.NoError(s.t, err)
	}
	require.NoError(s.t, w.Close())
	require.NoError(s.t, os.WriteFile(file, b.Bytes(), 0o644))
}

// modules are the product's own, each with what it depends on.
var modules = [][2]string{{"acme_base", "base"}, {"acme_dock", "acme_base"}, {"acme_label", "acme_dock"}}

func version(i int) string { return fmt.Sprintf("19.0.1.%d.0", i) }

// writeAddons lays down the addons of the i-th release: each changes one module after the other.
func (s *server) writeAddons(i int) {
	s.t.Helper()
	for n, module := range modules {
		at := version(i - (i+n)%2)
		folder := filepath.Join(s.path("source"), "addons", module[0])
		require.NoError(s.t, os.MkdirAll(folder, 0o755))
		for name, content := range map[string]string{
			"__manifest__.py": fmt.Sprintf("{'name': '%s', 'version': '%s', 'license': 'LGPL-3', 'depends': ['%s'], 'installable': True}\n", module[0], at, module[1]),
			"__init__.py":     "# " + at + "\n",
		} {
			require.NoError(s.t, os.WriteFile(filepath.Join(folder, name), []byte(content), 0o644))
		}
	}
}

// inDatabase gives f a connection to a database of one of the two embedded servers.
func (s *server) inDatabase(of, database string, f func(ctx context.Context, db *pgx.Conn)) {
	s.t.Helper()
	url, err := (&stage.Stage{Options: stage.Options{Folder: s.folder}}).DatabaseURL(of, database)
	require.NoError(s.t, err)
	db, err := pgx.Connect(interrupted, url)
	require.NoError(s.t, err)
	defer func() { _ = db.Close(context.WithoutCancel(interrupted)) }()
	f(interrupted, db)
}
