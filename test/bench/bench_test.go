//go:build odoo

// Package bench measures Waybill against what one would do without it, both in one run, on the same
// database, machine and Odoo: ratios, not seconds, are what may be compared between machines.
package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/examples/acme/stage"
	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/keys"
	"github.com/waybill-dev/waybill/internal/odoo"
	"github.com/waybill-dev/waybill/internal/release"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if len(lines) > 0 {
		t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "\nWHAT\tOURS\tTHEIRS\tRATIO\tTHEIRS IS")
		for _, line := range lines {
			fmt.Fprintln(t, line)
		}
		_ = t.Flush()
	}
	if shared != nil {
		if err := shared.Close(context.Background()); err != nil {
			fmt.Println("closing the stage:", err)
			code = max(code, 1)
		}
		_ = os.Remove(shared.Binary)
	}
	os.Exit(code)
}

var lines []string

// report prints a comparison in the table, and as metrics. Ours and theirs are in the same unit.
func report(b *testing.B, what, unit string, ours, theirs float64, theirsIs string) {
	b.Helper()
	ratio := "–"
	if theirs > 0 {
		ratio = fmt.Sprintf("%.2f", ours/theirs)
		b.ReportMetric(ours/theirs, strings.ReplaceAll(what, " ", "-")+"-ratio")
	}
	b.ReportMetric(ours, strings.ReplaceAll(what, " ", "-")+"-ours-"+unit)
	b.ReportMetric(theirs, strings.ReplaceAll(what, " ", "-")+"-theirs-"+unit)
	lines = append(lines, fmt.Sprintf("%s\t%.2f %s\t%.2f %s\t%s\t%s", what, ours, unit, theirs, unit, ratio, theirsIs))
}

var (
	shared *stage.Stage
	broken error
)

func theStage(b *testing.B) *stage.Stage {
	b.Helper()
	if broken == nil && shared == nil {
		options, err := stage.Here(b.Context(), "bench")
		if err == nil {
			options.Releases = []string{"r1", "r2"}
			options.Log = func(format string, args ...any) { fmt.Printf(format+"\n", args...) }
			shared, err = stage.Open(context.WithoutCancel(b.Context()), options)
		}
		broken = err
	}
	if broken != nil {
		b.Fatalf("the stage could not be opened: %v", broken)
	}
	return shared
}

// container is how a person would run Odoo by hand on the stage's database and filestore: with the
// docker client, as the database's superuser.
type container struct {
	stage  *stage.Stage
	config string // folder, mounted at /etc/waybill
	client string // the docker client's own configuration
	image  string
}

func byHand(b *testing.B, s *stage.Stage, release string) container {
	b.Helper()
	c := container{stage: s, config: filepath.Join(s.Folder, "by-hand-"+release), client: filepath.Join(s.Folder, "docker-client")}
	c.image = s.Address + "/acme@" + s.Digests[release]
	token, err := os.ReadFile(filepath.Join(s.Data(), "keys", "token"))
	if err != nil {
		b.Fatal(err)
	}
	login := exec.CommandContext(b.Context(), "docker", "--config", c.client, "login", "--username", "waybill", "--password-stdin", s.Address)
	login.Stdin = strings.NewReader(strings.TrimSpace(string(token)))
	if out, err := login.CombinedOutput(); err != nil {
		b.Fatalf("docker login: %v: %s; the client is installed by: hack/setup.sh packages docker", err, out)
	}
	if out, err := exec.CommandContext(b.Context(), "docker", "--config", c.client, "pull", "-q", c.image).CombinedOutput(); err != nil {
		b.Fatalf("docker pull: %v: %s", err, out)
	}
	ring, err := keys.Open(filepath.Join(s.Data(), "keys"))
	if err != nil {
		b.Fatal(err)
	}
	series, err := odoo.Series("19.0", false)
	if err != nil {
		b.Fatal(err)
	}
	conf, err := odoo.Conf{Series: series, Host: bridge.PostgresDir, Port: 5432, User: "waybill", Password: ring.Password("waybill", "postgres-tenants"),
		Update: true, AddonsPaths: about(b, s, release).Base.AddonsPaths}.Render()
	if err != nil {
		b.Fatal(err)
	}
	if err := os.MkdirAll(c.config, 0o755); err != nil {
		b.Fatal(err)
	}
	c.write(b, bridge.OdooConfFile, conf)
	return c
}

func about(b *testing.B, s *stage.Stage, name string) release.Release {
	b.Helper()
	var r release.Release
	if err := s.Ask(b.Context(), &r, "release", "show", name); err != nil {
		b.Fatal(err)
	}
	return r
}

// write puts a file into /etc/waybill that only Odoo's user may read.
func (c container) write(b *testing.B, name string, content []byte) {
	b.Helper()
	path := filepath.Join(c.config, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		b.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(path, stage.OdooUser, stage.OdooUser); err != nil {
			b.Fatal(err)
		}
	}
}

// run runs a command in a container of the release, to its end, and returns what it printed.
func (c container) run(b *testing.B, command ...string) string {
	b.Helper()
	user := stage.OdooUser
	if own := os.Geteuid(); own != 0 {
		user = own
	}
	args := []string{"--config", c.client, "run", "--rm", "--network", "none", "--user", fmt.Sprint(user),
		"-v", c.config + ":/etc/waybill:ro", "-v", c.stage.SocketFolder(stage.TenantsServer) + ":" + bridge.PostgresDir,
		"-v", filepath.Dir(filepath.Dir(c.stage.Filestore())) + ":" + bridge.DataDir, "--tmpfs", bridge.OutDir + ":mode=1777",
		"--entrypoint", command[0], c.image}
	run := exec.CommandContext(b.Context(), "docker", append(args, command[1:]...)...)
	var said, complained strings.Builder
	run.Stdout, run.Stderr = &said, &complained
	if err := run.Run(); err != nil {
		b.Fatalf("%v in a container: %v: …%s", command[0], err, tail(complained.String()+said.String()))
	}
	return said.String()
}

func tail(text string) string { return text[max(0, len(text)-1500):] }

// drop removes a scratch database.
func drop(b *testing.B, s *stage.Stage, databases ...string) {
	b.Helper()
	url, err := s.DatabaseURL(stage.TenantsServer, "postgres")
	if err != nil {
		b.Fatal(err)
	}
	db, err := pgx.Connect(b.Context(), url)
	if err != nil {
		b.Fatal("connect to the tenants' PostgreSQL failed")
	}
	defer db.Close(context.WithoutCancel(b.Context()))
	for _, name := range databases {
		if _, err := db.Exec(b.Context(), "drop database if exists "+pgx.Identifier{name}.Sanitize()+" with (force)"); err != nil {
			b.Error(err)
		}
	}
}
