//go:build odoo

package bridge

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// These tests run the bridge in a real Odoo: containers of WAYBILL_TEST_BASE on the Docker Engine
// at DOCKER_HOST, and a private PostgreSQL. They need root (for the unprivileged users).
//
//	WAYBILL_TEST_BASE=odoo-base:19 go test -tags odoo -timeout 40m ./internal/bridge

const (
	pgBin    = "/usr/lib/postgresql/15/bin"
	odooUser = 10001
	template = "wbt_template"
)

// bundle is what all tests of this package share.
type bundle struct {
	dir     string // everything of this run
	image   string
	prefix  string // of containers and of the network
	addons  string // testdata/addons
	bridge  string // the folder bridge/
	err     error
	network sync.Once
	netErr  error
}

var (
	shared    bundle
	sharedOne sync.Once
)

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.dir != "" {
		shared.stop()
	}
	os.Exit(code)
}

// setup returns the bundle with a server that holds the template database: Odoo with
// sale_stock, purchase_stock, delivery and the test modules at their first version.
func setup(t *testing.T) *bundle {
	t.Helper()
	sharedOne.Do(func() { shared.err = shared.start() })
	require.NoError(t, shared.err)
	return &shared
}

func (b *bundle) start() error {
	b.image = os.Getenv("WAYBILL_TEST_BASE")
	if b.image == "" {
		return fmt.Errorf("WAYBILL_TEST_BASE names no image with Odoo; make one with: make base")
	}
	if _, err := os.Stat(pgBin + "/initdb"); err != nil {
		return fmt.Errorf("no PostgreSQL 15; install it with: apt-get install postgresql-15")
	}
	if out, err := exec.Command("docker", "image", "inspect", b.image).CombinedOutput(); err != nil {
		return fmt.Errorf("no image %s at DOCKER_HOST=%s: %s", b.image, os.Getenv("DOCKER_HOST"), out)
	}
	var err error
	if b.dir, err = os.MkdirTemp("", "wbbridge-"); err != nil {
		return err
	}
	if err := os.Chmod(b.dir, 0o755); err != nil {
		return err
	}
	b.prefix = filepath.Base(b.dir)
	if b.addons, err = filepath.Abs("testdata/addons"); err != nil {
		return err
	}
	if b.bridge, err = filepath.Abs("../../bridge"); err != nil {
		return err
	}
	if err := b.startPostgres(); err != nil {
		return err
	}
	for _, dir := range []string{"data"} {
		if err := b.mkdir(dir, odooUser); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	if err := b.exec(ctx, "postgres", "CREATE DATABASE "+template+" OWNER odoo TEMPLATE template0"); err != nil {
		return err
	}
	return b.fillTemplate(ctx)
}

// fillTemplate restores the template from the user's cache or, the first time, lets the bridge
// create it, in one transaction, and keeps it there: it takes a minute, its restore seconds.
func (b *bundle) fillTemplate(ctx context.Context) error {
	cache, err := b.cacheFile()
	if err != nil {
		return err
	}
	if _, err := os.Stat(cache); err == nil {
		return b.restore(ctx, template, cache)
	}
	job := b.job(template)
	job.Promotion, job.Create, job.Install = "template", true, []string{"sale_stock", "purchase_stock", "delivery", "wbt_two"}
	result, code, log := b.run(ctx, "v1", job)
	if code != ExitCommitted {
		return fmt.Errorf("the template was not made: exit %d, %s\n%s", code, result.Error, tail(log))
	}
	return b.keep(ctx, template, cache)
}

func (b *bundle) url(database string) []string {
	return []string{"-h", filepath.Join(b.dir, "pg"), "-U", "postgres", "-d", database}
}

func (b *bundle) restore(ctx context.Context, database, cache string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(pgBin, "pg_restore"), append(b.url(database), "-j2", "-e", cache)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("restore %s (remove it to make it again): %w\n%s", cache, err, out)
	}
	return nil
}

func (b *bundle) keep(ctx context.Context, database, cache string) error {
	if err := os.MkdirAll(filepath.Dir(cache), 0o755); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(pgBin, "pg_dump"), append(b.url(database), "-Fc", "-Z1", "-f", cache+".new")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("keep database %s: %w\n%s", database, err, out)
	}
	return os.Rename(cache+".new", cache)
}

// cacheFile is named after everything that the template is made from.
func (b *bundle) cacheFile() (string, error) {
	id, err := exec.Command("docker", "image", "inspect", "-f", "{{.Id}}", b.image).Output()
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	hash.Write(id)
	err = filepath.WalkDir(filepath.Join(b.addons, "v1"), func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		fmt.Fprintf(hash, "%s %d\n%s", strings.TrimPrefix(path, b.addons), len(content), content)
		return err
	})
	if err != nil {
		return "", err
	}
	folder, err := os.UserCacheDir()
	return filepath.Join(folder, "waybill", "bridge-template-"+hex.EncodeToString(hash.Sum(nil)[:8])+".dump"), err
}

func (b *bundle) mkdir(name string, uid int) error {
	path := filepath.Join(b.dir, name)
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	return os.Chown(path, uid, uid)
}

func (b *bundle) stop() {
	out, _ := exec.Command("docker", "ps", "-aq", "--filter", "name="+b.prefix).Output()
	for _, id := range strings.Fields(string(out)) {
		_ = exec.Command("docker", "rm", "-f", id).Run()
	}
	_ = exec.Command("docker", "network", "rm", b.prefix).Run()
	_ = b.postgres("pg_ctl", "-D", filepath.Join(b.dir, "cluster"), "-m", "immediate", "-w", "stop")
	_ = os.RemoveAll(b.dir)
}

func (b *bundle) job(database string) Job {
	return Job{
		Protocol: Protocol, Promotion: "promotion-1", Release: "sha256:second", Database: database,
		Update: []string{}, Install: []string{}, Transaction: true, Flows: []string{}, Checksums: map[string]string{},
	}
}

// update is the job that the tests vary: both test modules go to their second version.
func (b *bundle) update(database string) Job {
	job := b.job(database)
	job.Update = []string{"wbt_one", "wbt_two"}
	return job
}

var containers struct {
	sync.Mutex
	n int
}

func (b *bundle) name(kind string) string {
	containers.Lock()
	defer containers.Unlock()
	containers.n++
	return fmt.Sprintf("%s-%s-%d", b.prefix, kind, containers.n)
}

const odooConf = `[options]
db_host = /run/waybill/pg
db_user = odoo
addons_path = /opt/waybill/addons,/opt/waybill/bridge,/usr/lib/python3/dist-packages/odoo/addons
data_dir = /var/lib/odoo
server_wide_modules = base,rpc,web,waybill_probe
list_db = False
proxy_mode = True
`

// container returns the arguments of docker run up to the image. files go to /etc/waybill.
func (b *bundle) container(name, addons, role string, files map[string][]byte, more ...string) ([]string, error) {
	etc := name + "-etc"
	if err := b.mkdir(etc, odooUser); err != nil {
		return nil, err
	}
	for file, content := range files {
		if err := os.WriteFile(filepath.Join(b.dir, etc, file), content, 0o644); err != nil {
			return nil, err
		}
	}
	data := "data"
	if files[FilesFile] != nil { // of copies alone: each process is a pod of its own
		data = name + "-data"
		if err := b.mkdir(data, odooUser); err != nil {
			return nil, err
		}
	}
	args := []string{
		"run", "--name", name, "--user", fmt.Sprintf("%d:%d", odooUser, odooUser),
		"-e", "HOME=/var/lib/odoo", "-e", "WAYBILL_ROLE=" + role,
		"-v", filepath.Join(b.dir, "pg") + ":" + PostgresDir,
		"-v", filepath.Join(b.dir, data) + ":" + DataDir,
		"-v", filepath.Join(b.dir, etc) + ":" + ConfigDir + ":ro",
		"-v", filepath.Join(b.addons, addons) + ":" + AddonsPath + ":ro",
		"-v", b.bridge + ":" + BridgePath + ":ro",
	}
	return append(append(args, more...), b.image), nil
}

// run runs waybill_update to its end, with the addons of v1 or v2.
func (b *bundle) run(ctx context.Context, addons string, job Job) (JobResult, int, string) {
	return b.runWith(ctx, addons, job, nil, "none")
}

// runWith has further files in /etc/waybill, and a network.
func (b *bundle) runWith(ctx context.Context, addons string, job Job, files map[string][]byte, network string) (JobResult, int, string) {
	var result JobResult
	content, err := json.Marshal(job)
	if err != nil {
		return result, -1, err.Error()
	}
	name := b.name("job")
	if err := b.mkdir(name+"-out", odooUser); err != nil {
		return result, -1, err.Error()
	}
	all := map[string][]byte{OdooConfFile: []byte(odooConf), JobFile: content}
	maps.Copy(all, files)
	args, err := b.container(name, addons, "update", all,
		"--rm", "--network", network, "-v", filepath.Join(b.dir, name+"-out")+":"+OutDir)
	if err != nil {
		return result, -1, err.Error()
	}
	cmd := exec.CommandContext(ctx, "docker", append(args, "odoo", "--addons-path="+BridgePath, "waybill_update")...)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	err = cmd.Run()
	if ctx.Err() != nil {
		_ = exec.Command("docker", "rm", "-f", name).Run()
	}
	code := 0
	if err != nil {
		code = cmd.ProcessState.ExitCode()
	}
	raw, err := os.ReadFile(filepath.Join(b.dir, name+"-out", ResultFile))
	if err != nil {
		return result, code, log.String() + "\n" + err.Error()
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields() // both sides say the same
	if err := decoder.Decode(&result); err != nil {
		return result, -1, "result.json: " + err.Error()
	}
	return result, code, log.String()
}

// runs is run for a test: it shows the end of the log when the exit code is not the expected one.
func (b *bundle) runs(t *testing.T, addons string, job Job, want int) JobResult {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	defer cancel()
	result, code, log := b.run(ctx, addons, job)
	require.Equal(t, want, code, "error: %s\ntrace: %s\nlog: %s", result.Error, result.Trace, tail(log))
	return result
}

func tail(text string) string {
	if len(text) > 6000 {
		return text[len(text)-6000:]
	}
	return text
}

// eventually polls until check says true.
func eventually(t *testing.T, limit time.Duration, what string, check func() bool) {
	t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !check() {
		select {
		case <-deadline.C:
			t.Fatalf("not within %s: %s", limit, what)
		case <-tick.C:
		}
	}
}
