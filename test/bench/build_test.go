//go:build odoo

package bench

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/examples/acme"
	"github.com/waybill-dev/waybill/examples/acme/stage"
	"github.com/waybill-dev/waybill/examples/acme/waybill"
	"github.com/waybill-dev/waybill/internal/odoo"
)

// rounds is how often each side builds; the median counts.
const rounds = 7

// ownModules is how many modules the benchmark adds to Acme's, 450 kB each (pictures, translations, code):
// what a shop has that uses the community's addons.
const ownModules = 120

// workshop is a server with the base in its registry, a repository to build, and a docker client that
// knows the same registry. Nothing is promoted.
type workshop struct {
	waybill.CLI
	address                    string // host:port of the server and its registry
	registry                   string // the same registry, as the docker client reaches it
	source, client, dockerfile string
}

func openWorkshop(b *testing.B) *workshop {
	b.Helper()
	check := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	here, err := stage.Here(b.Context(), "benchbuild")
	check(err)
	b.Cleanup(func() { os.RemoveAll(here.Folder); os.Remove(here.Binary) })
	check(os.Chmod(here.Folder, 0o755))
	w := &workshop{CLI: waybill.CLI{Binary: here.Binary, Data: filepath.Join(here.Folder, "data")},
		source: filepath.Join(here.Folder, "source"), client: filepath.Join(here.Folder, "docker-client"), dockerfile: filepath.Join(here.Folder, "Dockerfile")}
	_, err = acme.WriteSource(b.Context(), w.source)
	check(err)
	check(w.addModules())
	estate := filepath.Join(here.Folder, "estate")
	check(acme.WriteEstate(estate, free(b), free(b)))
	git(b, estate, "init", "-q", "-b", "main")
	git(b, estate, "add", "-A")
	git(b, estate, "commit", "-q", "-m", "Estate")
	check(os.MkdirAll(w.Data, 0o755))
	w.address = free(b)
	log := filepath.Join(here.Folder, "server.log")
	server, err := w.Up(b.Context(), waybill.Up{Estate: estate, Listen: w.address, Log: log, WithParent: true})
	check(err)
	b.Cleanup(func() {
		if err := server.Stop(); err != nil {
			b.Error(err)
		}
	})
	check(w.Ask(b.Context(), nil, "base", "import", "--name", "odoo:19.0", here.Base))

	token, err := os.ReadFile(filepath.Join(w.Data, "keys", "token"))
	check(err)
	w.registry = withPassword(b, "http://"+w.address, "waybill", strings.TrimSpace(string(token)))
	w.docker(b, "pull", "-q", w.registry+"/odoo:19.0")
	b.Cleanup(func() {
		images, _ := exec.Command("docker", "images", "-q", w.registry+"/*").Output()
		for _, image := range strings.Fields(string(images)) {
			_ = exec.Command("docker", "rmi", "-f", image).Run()
		}
	})
	check(os.WriteFile(w.dockerfile, []byte("FROM "+w.registry+"/odoo:19.0\nCOPY addons /opt/addons\n"), 0o644))
	check(os.WriteFile(filepath.Join(w.source, ".dockerignore"), []byte(".git\n"), 0o644))
	w.commit(b, "Many modules")
	return w
}

// withPassword stands before the registry and gives the password: the docker client sends one only to a
// registry that wants it for reading too.
func withPassword(b *testing.B, upstream, user, password string) string {
	b.Helper()
	to, err := url.Parse(upstream)
	if err != nil {
		b.Fatal(err)
	}
	front := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.SetBasicAuth(user, password)
	}})
	b.Cleanup(front.Close)
	return front.Listener.Addr().String()
}

func (w *workshop) addModules() error {
	random := rand.New(rand.NewPCG(1, 2)) // the same each time, and as hard to pack as pictures are
	for i := range ownModules {
		folder := filepath.Join(w.source, "addons", fmt.Sprintf("bench_%03d", i))
		picture := make([]byte, 200_000)
		for j := range picture {
			picture[j] = byte(random.Uint32())
		}
		model := "from odoo import fields, models\n\n\nclass Partner(models.Model):\n    _inherit = \"res.partner\"\n\n"
		for j := range 500 {
			model += fmt.Sprintf("    bench_%03d_%d = fields.Char(string=\"Field %d of %d\", help=\"%d\")\n", i, j, j, i, random.Uint64())
		}
		translations := ""
		for j := range 1000 {
			translations += fmt.Sprintf("#. module: bench_%03d\n#: model:ir.model.fields,field_description:bench_%03d.field_res_partner__bench_%d\nmsgid \"Field %d of %d\"\nmsgstr \"Champ %d de %d, %x\"\n\n", i, i, j, j, i, j, i, random.Uint64())
		}
		for name, content := range map[string][]byte{
			"i18n/fr.po":                    []byte(translations),
			"__manifest__.py":               fmt.Appendf(nil, "{\n    \"name\": \"Bench %d\",\n    \"version\": \"19.0.1.0.0\",\n    \"author\": \"Acme\",\n    \"license\": \"LGPL-3\",\n    \"depends\": [\"stock\"],\n}\n", i),
			"__init__.py":                   []byte("from . import models\n"),
			"models/__init__.py":            []byte("from . import partner\n"),
			"models/partner.py":             []byte(model),
			"static/description/icon.png":   picture,
			"static/description/index.html": []byte("<p>Bench</p>\n"),
		} {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(folder, name)), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(folder, name), content, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// change changes one module and commits that. Nobody has built the same before, in an earlier run of the benchmark neither.
func (w *workshop) change(b *testing.B, round int) {
	b.Helper()
	file := filepath.Join(w.source, "addons", "bench_007", "models", "partner.py")
	content, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, fmt.Appendf(content, "    # round %d of %d\n", round, time.Now().UnixNano()), 0o644)
	}
	if err != nil {
		b.Fatal(err)
	}
	w.commit(b, fmt.Sprintf("Round %d", round))
}

func (w *workshop) commit(b *testing.B, message string) {
	b.Helper()
	git(b, w.source, "add", "-A")
	git(b, w.source, "commit", "-q", "-m", message)
}

func git(b *testing.B, dir string, args ...string) {
	b.Helper()
	command := exec.CommandContext(b.Context(), "git", append([]string{"-c", "user.name=Bench", "-c", "user.email=bench@acme.example", "-c", "commit.gpgsign=false"}, args...)...)
	command.Dir = dir
	if out, err := command.CombinedOutput(); err != nil {
		b.Fatalf("git %v: %v: %s", args, err, out)
	}
}

func (w *workshop) docker(b *testing.B, args ...string) {
	b.Helper()
	if out, err := exec.CommandContext(b.Context(), "docker", append([]string{"--config", w.client}, args...)...).CombinedOutput(); err != nil {
		b.Fatalf("docker %v: %v: %s", args, err, tail(string(out)))
	}
}

func free(b *testing.B) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// BenchmarkBuild compares a build after one module was changed with docker build and push of the same
// addons on the same base into the same registry. Ours checks the modules, makes the bill of materials,
// signs and attaches too. Each side builds in turn, with what it remembers of the build before.
func BenchmarkBuild(b *testing.B) {
	w := openWorkshop(b)
	for b.Loop() {
		var ours, theirs []float64
		for round := range rounds + 1 {
			w.change(b, round)
			began := time.Now()
			if err := w.Ask(b.Context(), nil, "build", "--source", w.source, "--name", fmt.Sprintf("b%d", round)); err != nil {
				b.Fatal(err)
			}
			mine := time.Since(began).Seconds()
			began = time.Now()
			image := fmt.Sprintf("%s/docker:b%d", w.registry, round)
			w.docker(b, "build", "-q", "-t", image, "-f", w.dockerfile, w.source)
			w.docker(b, "push", "-q", image)
			hers := time.Since(began).Seconds()
			b.Logf("round %d: %.2f s, docker %.2f s", round, mine, hers)
			if round > 0 { // the first fills the caches of both
				ours, theirs = append(ours, mine), append(theirs, hers)
			}
		}
		report(b, "build and push", "s", median(ours), median(theirs), "docker build and docker push, 123 addons of 55 MB copied; not checked or signed")
	}
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// literalEval reads all manifests below a folder with Python's own reader and says how long that took,
// several times. Python's start is not counted.
const literalEval = `
import ast, json, pathlib, sys, time
files = [p.read_text(encoding="utf-8") for p in sorted(pathlib.Path(sys.argv[1]).glob("*/__manifest__.py"))]
times = []
for _ in range(int(sys.argv[2])):
    began = time.perf_counter()
    for source in files:
        ast.literal_eval(source)
    times.append(time.perf_counter() - began)
print(json.dumps({"files": len(files), "times": times}))
`

// BenchmarkManifests compares reading all manifests of the base with Python's ast.literal_eval.
func BenchmarkManifests(b *testing.B) {
	folder := os.Getenv("WAYBILL_TEST_ADDONS")
	if folder == "" {
		b.Fatal("WAYBILL_TEST_ADDONS is not set; run: make bench-build")
	}
	files, err := filepath.Glob(filepath.Join(folder, "*", "__manifest__.py"))
	if err != nil || len(files) < 500 {
		b.Fatalf("%d manifests in %s: %v", len(files), folder, err)
	}
	contents := make([][]byte, len(files))
	for i, file := range files {
		if contents[i], err = os.ReadFile(file); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		var ours []float64
		for range rounds {
			began := time.Now()
			for i, content := range contents {
				if _, err := odoo.ParseManifest(content); err != nil {
					b.Fatalf("%s: %v", files[i], err)
				}
			}
			ours = append(ours, float64(time.Since(began).Microseconds())/1000)
		}
		out, err := exec.CommandContext(b.Context(), "python3", "-c", literalEval, folder, fmt.Sprint(rounds)).Output()
		var theirs struct {
			Files int
			Times []float64
		}
		if err == nil {
			err = json.Unmarshal(out, &theirs)
		}
		if err != nil || theirs.Files != len(files) {
			b.Fatalf("python3 read %d of %d manifests: %v", theirs.Files, len(files), err)
		}
		report(b, fmt.Sprintf("%d manifests", len(files)), "ms", median(ours), 1000*median(theirs.Times), "Python's ast.literal_eval, without its start")
	}
}
