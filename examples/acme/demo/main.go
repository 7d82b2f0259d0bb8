// Command demo shows Waybill's main job on a real Odoo: five releases of a warehouse's addons go
// to test and to production while people place and ship orders there. Two are good, one fails in
// production only, one commits and is broken there, one is a breaking change. It works through
// the waybill binary alone, as a user would, and exits non-zero if anything it tells did not happen.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/waybill-dev/waybill/examples/acme"
	"github.com/waybill-dev/waybill/examples/acme/waybill"
)

// options are what the command line says.
type options struct {
	binary   string        // waybill
	data     string        // Waybill's data folder
	work     string        // source, estate, order ledger, pictures
	base     string        // oci:FOLDER or rootfs:FILE of the base image; empty: it is in the registry already
	cache    string        // where the initial databases are kept between runs; empty: nowhere
	listen   string        // of Waybill
	http     [2]string     // host:port of test's and production's routers
	people   int           // of the crew
	pace     time.Duration // from one order of a person to the next
	browser  bool
	full     bool          // with rehearsals, r6 and r7
	kube     bool          // on a Kubernetes; see package cluster
	deadline time.Duration // of the whole story
}

func main() {
	var o options
	flag.StringVar(&o.binary, "waybill", "waybill", "the waybill binary")
	flag.StringVar(&o.data, "data", "", "data folder of Waybill; must be fresh")
	flag.StringVar(&o.work, "work", "", "folder for source, estate, order ledger and pictures; must be fresh")
	flag.StringVar(&o.base, "base", "", "the Odoo base image, oci:FOLDER or rootfs:FILE, imported as odoo:19.0")
	flag.StringVar(&o.cache, "cache", "", "folder that keeps the initial database between runs")
	flag.StringVar(&o.listen, "listen", "127.0.0.1:17480", "host:port that Waybill listens on")
	flag.StringVar(&o.http[0], "test-http", acme.TestAddress, "host:port of test's router")
	flag.StringVar(&o.http[1], "production-http", acme.ProductionAddress, "host:port of production's router")
	flag.IntVar(&o.people, "people", 20, "how many people work in the warehouse")
	flag.DurationVar(&o.pace, "pace", 30*time.Second, "from one order of a person to the next")
	flag.BoolVar(&o.browser, "browser", true, "keep a Chromium open on production")
	flag.BoolVar(&o.full, "full", false, "demand rehearsals in production, and tell of r6 and r7 too")
	flag.BoolVar(&o.kube, "kube", false, "on the Kubernetes, and the servers beside it, that the environment names: eval \"$(hack/cluster.sh env)\"")
	flag.DurationVar(&o.deadline, "deadline", 20*time.Minute, "give up after this long")
	flag.Parse()
	if o.data == "" || o.work == "" {
		fmt.Fprintln(os.Stderr, "demo: -data and -work are required: two folders that do not exist yet")
		os.Exit(2)
	}
	if err := absolute(&o); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(2)
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, o.deadline)
	defer cancel()
	if err := tell(ctx, o); err != nil {
		fmt.Fprintf(os.Stderr, "\nThe story did not go as told:\n%v\n", err)
		os.Exit(1) //nolint:gocritic // the deferred functions only release the signal handler
	}
}

// absolute makes every folder independent of where a command runs.
func absolute(o *options) error {
	for _, path := range []*string{&o.data, &o.work, &o.cache} {
		if *path == "" {
			continue
		}
		full, err := filepath.Abs(*path)
		if err != nil {
			return err
		}
		*path = full
	}
	if kind, path, ok := strings.Cut(o.base, ":"); ok && (kind == "oci" || kind == "rootfs") {
		full, err := filepath.Abs(path)
		if err != nil {
			return err
		}
		o.base = kind + ":" + full
	} else if o.base != "" {
		return fmt.Errorf("-base %s: expected oci:FOLDER or rootfs:FILE", o.base)
	}
	for _, folder := range []string{o.data, o.work} {
		if entries, err := os.ReadDir(folder); err == nil && len(entries) > 0 {
			return fmt.Errorf("%s is not empty; name a fresh folder, or remove it", folder)
		}
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// tell runs the story and prints the table, also of a story that ended early.
func tell(ctx context.Context, o options) (err error) {
	s := &story{options: o, begun: time.Now(), cli: waybill.CLI{Binary: o.binary, Data: o.data}}
	defer func() {
		err = errors.Join(err, s.close())
		s.table(os.Stdout)
	}()
	acts := []func(context.Context) error{s.open, s.first, s.second, s.third, s.fourth, s.fifth}
	if o.full {
		acts = append(acts, s.sixth, s.seventh)
	}
	for _, act := range append(acts, s.reckon) {
		if err := act(ctx); err != nil {
			return err
		}
	}
	return nil
}
