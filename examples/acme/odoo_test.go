//go:build odoo

package acme_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/examples/acme"
	"github.com/waybill-dev/waybill/examples/acme/client"
)

// plain is Odoo as one runs it without Waybill: containers of the base image with the addons
// mounted, on a PostgreSQL cluster of the tests' own.
type plain struct {
	dir   string // holds pg, run (socket), trees, filestores
	port  int    // of PostgreSQL, in dir/run
	image string
	goods client.Goods

	mu    sync.Mutex
	jobs  int
	close []func()
}

const modules = "acme_base,acme_dock,acme_label"

const clerkPassword = "only for the tests"

var (
	shared     *plain
	sharedErr  error
	sharedOnce sync.Once
)

func TestMain(m *testing.M) {
	code := m.Run()
	if shared != nil {
		shared.stop()
	}
	os.Exit(code)
}

// odoo returns the shared Odoo with the databases "before_test" and "before_production": r1,
// installed and seeded.
func odoo(t *testing.T) *plain {
	t.Helper()
	sharedOnce.Do(func() { sharedErr = start() })
	if sharedErr != nil {
		t.Fatal(sharedErr)
	}
	return shared
}

func start() error {
	ctx, cancel := context.WithTimeout(context.Background(), 12*time.Minute)
	defer cancel()
	image := os.Getenv("WAYBILL_TEST_BASE")
	if image == "" {
		image = "odoo-base:19"
	}
	if out, err := exec.CommandContext(ctx, "docker", "image", "inspect", image).CombinedOutput(); err != nil {
		return fmt.Errorf("no image %s in the Docker Engine at %q (make base makes one; WAYBILL_TEST_BASE names another): %w: %s",
			image, os.Getenv("DOCKER_HOST"), err, bytes.TrimSpace(out[max(0, len(out)-300):]))
	}
	dir, err := os.MkdirTemp("", "acme-odoo-")
	if err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	p := &plain{dir: dir, image: image}
	shared = p
	if err := p.startPostgres(ctx); err != nil {
		return err
	}
	tree := ""
	for _, release := range acme.Releases {
		next := filepath.Join(dir, release)
		if tree != "" {
			if err := os.CopyFS(next, os.DirFS(tree)); err != nil {
				return err
			}
		}
		if err := acme.WriteRelease(next, release); err != nil {
			return err
		}
		tree = next
	}
	if err := p.sql(ctx, "postgres", "CREATE DATABASE before_test OWNER odoo"); err != nil {
		return err
	}
	if log, err := p.job(ctx, "r1", "before_test", "-i", modules, "--without-demo=1"); err != nil {
		return fmt.Errorf("installing r1: %w\n%s", err, log)
	}
	if p.goods, err = p.seed(ctx, "before_test", false); err != nil {
		return err
	}
	if err := p.copyDatabase(ctx, "before_test", "before_production"); err != nil {
		return err
	}
	_, err = p.seed(ctx, "before_production", true)
	return err
}

func (p *plain) seed(ctx context.Context, database string, odd bool) (client.Goods, error) {
	site, stop, err := p.serve(ctx, "r1", database, 0)
	if err != nil {
		return client.Goods{}, err
	}
	defer stop()
	return client.Seed{ClerkPassword: clerkPassword, OddOrder: odd}.Fill(ctx, site)
}

func (p *plain) startPostgres(ctx context.Context) error {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(found) == 0 {
		return errors.New("no PostgreSQL server on this machine: apt-get install postgresql")
	}
	bin := filepath.Dir(found[len(found)-1])
	port, err := freePort()
	if err != nil {
		return err
	}
	p.port = port
	data, run := filepath.Join(p.dir, "pg"), filepath.Join(p.dir, "run")
	var as *syscall.Credential
	for _, folder := range []string{data, run} {
		if err := os.Mkdir(folder, 0o755); err != nil {
			return err
		}
	}
	if os.Geteuid() == 0 { // PostgreSQL refuses to run as root
		account, err := user.Lookup("postgres")
		if err != nil {
			return err
		}
		uid, _ := strconv.Atoi(account.Uid)
		gid, _ := strconv.Atoi(account.Gid)
		as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		for _, folder := range []string{data, run} {
			if err := os.Chown(folder, uid, gid); err != nil {
				return err
			}
		}
	}
	postgres := func(ctx context.Context, program string, args ...string) error {
		command := exec.CommandContext(ctx, filepath.Join(bin, program), args...)
		command.SysProcAttr = &syscall.SysProcAttr{Credential: as}
		command.Dir = run
		if out, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", program, err, out)
		}
		return nil
	}
	if err := postgres(ctx, "initdb", "-D", data, "-U", "odoo", "-A", "trust", "-E", "UTF8", "--no-locale"); err != nil {
		return err
	}
	options := fmt.Sprintf("-p %d -k %s -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=200", port, run)
	if err := postgres(ctx, "pg_ctl", "-D", data, "-l", filepath.Join(run, "log"), "-o", options, "-w", "start"); err != nil {
		return err
	}
	p.close = append(p.close, func() {
		if err := postgres(context.Background(), "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop"); err != nil {
			log.Print(err)
		}
	})
	return nil
}

// stop ends what the tests began.
func (p *plain) stop() {
	for i := len(p.close) - 1; i >= 0; i-- {
		p.close[i]()
	}
	if err := os.RemoveAll(p.dir); err != nil {
		log.Print(err)
	}
}

// url is how a program on this machine reaches a database.
func (p *plain) url(database string) string {
	return fmt.Sprintf("postgres://odoo@127.0.0.1:%d/%s", p.port, database)
}

func (p *plain) sql(ctx context.Context, database, query string) error {
	_, err := p.query(ctx, database, query)
	return err
}

// query returns what psql prints, unaligned.
func (p *plain) query(ctx context.Context, database, query string) (string, error) {
	out, err := exec.CommandContext(ctx, "psql", "-X", "-At", "-v", "ON_ERROR_STOP=1", "-d", p.url(database), "-c", query).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", query, err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// copyDatabase copies database and filestore.
func (p *plain) copyDatabase(ctx context.Context, from, to string) error {
	if err := p.sql(ctx, "postgres", fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s OWNER odoo", to, from)); err != nil {
		return err
	}
	source := filepath.Join(p.dir, "data", "filestore", from)
	return os.CopyFS(filepath.Join(p.dir, "data", "filestore", to), os.DirFS(source))
}

// name is a container's name that no other has.
func (p *plain) name() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.jobs++
	return fmt.Sprintf("acme-plain-%d-%d", p.port, p.jobs)
}

func (p *plain) run(release string, docker []string, args ...string) []string {
	command := append([]string{"run", "--network", "host",
		"-v", filepath.Join(p.dir, "run") + ":/pgrun",
		"-v", filepath.Join(p.dir, release, "addons") + ":/mnt/addons:ro",
		"-v", filepath.Join(p.dir, "data") + ":/var/lib/odoo"}, docker...)
	return append(append(command, p.image, "odoo", "--db_host=/pgrun", fmt.Sprintf("--db_port=%d", p.port), "-r", "odoo",
		"--addons-path=/usr/lib/python3/dist-packages/odoo/addons,/mnt/addons", "--data-dir=/var/lib/odoo",
		"--max-cron-threads=0"), args...)
}

// job runs Odoo to its end and returns its log.
func (p *plain) job(ctx context.Context, release, database string, args ...string) (string, error) {
	args = append([]string{"-d", database, "--no-http", "--stop-after-init", "--log-level=warn"}, args...)
	name := p.name()
	out, err := exec.CommandContext(ctx, "docker", p.run(release, []string{"--rm", "--name", name}, args...)...).CombinedOutput()
	if ctx.Err() != nil { // only the command that waits was killed, not the container
		_ = exec.Command("docker", "rm", "-f", name).Run()
	}
	if err == nil && strings.Contains(string(out), " CRITICAL ") {
		err = errors.New("Odoo logged a critical error")
	}
	return string(out), err
}

// serve starts a release's server on a database and returns once it answers.
func (p *plain) serve(ctx context.Context, release, database string, workers int) (client.Site, func(), error) {
	port, err := freePort()
	if err != nil {
		return client.Site{}, nil, err
	}
	websocket, err := freePort()
	if err != nil {
		return client.Site{}, nil, err
	}
	name := p.name()
	out, err := exec.CommandContext(ctx, "docker", p.run(release, []string{"-d", "--name", name},
		"-d", database, "--db-filter=^"+database+"$", "--http-interface=127.0.0.1", "--http-port="+strconv.Itoa(port),
		"--gevent-port="+strconv.Itoa(websocket), "--workers="+strconv.Itoa(workers), "--log-level=warn")...).CombinedOutput()
	stop := func() {
		if out, err := exec.Command("docker", "rm", "-f", name).CombinedOutput(); err != nil {
			log.Printf("removing %s: %v: %s", name, err, out)
		}
	}
	if err != nil {
		stop()
		return client.Site{}, nil, fmt.Errorf("starting Odoo: %w: %s", err, out)
	}
	site := client.Site{Address: fmt.Sprintf("127.0.0.1:%d", port), Host: "erp.acme.example", Database: database}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	deadline, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	for {
		request, _ := http.NewRequestWithContext(deadline, http.MethodGet, "http://"+site.Address+"/web/login", nil)
		if answer, err := http.DefaultClient.Do(request); err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return site, stop, nil
			}
		}
		select {
		case <-deadline.Done():
			logs, _ := exec.Command("docker", "logs", "--tail", "40", name).CombinedOutput()
			stop()
			return client.Site{}, nil, fmt.Errorf("%s on %s did not answer: %w\n%s", release, database, deadline.Err(), logs)
		case <-tick.C:
		}
	}
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}
