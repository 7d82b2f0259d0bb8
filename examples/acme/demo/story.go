package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/examples/acme"
	"github.com/waybill-dev/waybill/examples/acme/client"
	"github.com/waybill-dev/waybill/examples/acme/cluster"
	"github.com/waybill-dev/waybill/examples/acme/initial"
	"github.com/waybill-dev/waybill/examples/acme/waybill"
)

// The ends that a promotion has in the story.
const (
	promoted   = "promoted"
	rolledBack = "rolled_back"
)

// story is what is at hand while it is told.
type story struct {
	options
	cli     waybill.CLI
	begun   time.Time
	commits map[string]string
	initial initial.Database

	cluster          *cluster.Cluster // nil: everything is on this machine's engine
	server           *waybill.Server
	test, production client.Site
	crew             *client.Crew
	ledger           *client.Ledger
	watcher          *watcher
	opening          chan error // while the browser is being opened
	rows             []row
	rehearsed        rehearsed    // the last one
	rushed           [2]int64     // orders begun and shipped by those who came for the busy hour
	asks             *asks        // what production asks of people; nil while it asks nobody
	next             string       // what goes to test while the next promotion to production shifts traffic
	ahead            *ahead       // what has gone
	since            *client.Mark // when the rehearsal in production began that the next promotion there follows
}

// say tells what happens next, in a sentence.
func (s *story) say(format string, args ...any) {
	fmt.Printf("%5.0f s  %s\n", time.Since(s.begun).Seconds(), fmt.Sprintf(format, args...))
}

// source and estate are where the developers and the operators keep their repositories.
func (s *story) source() string { return filepath.Join(s.work, "source") }
func (s *story) estate() string { return filepath.Join(s.work, "estate") }

// open makes the two repositories and starts Waybill.
func (s *story) open(ctx context.Context) (err error) {
	s.say("Acme's developers have a Git repository with the releases of their addons.")
	if s.commits, err = acme.WriteSource(ctx, s.source()); err != nil {
		return err
	}
	s.say("Its operators have an estate: a test and a production, one warehouse in each.")
	if s.kube {
		s.say("Both are on a Kubernetes, with PostgreSQL, Redis and Traefik beside it.")
		if s.cluster, err = cluster.Open(ctx, "waybill-demo", s.work); err != nil {
			return err
		}
		s.http = s.cluster.Ports()
	}
	if err := acme.WriteEstate(s.estate(), s.http[0], s.http[1]); err != nil {
		return err
	}
	if s.cluster != nil {
		if err := acme.Servers(s.estate(), s.cluster.Servers()); err != nil {
			return err
		}
	}
	if err := s.git(ctx, "init", "-q", "-b", "main"); err != nil {
		return err
	}
	if err := s.commit(ctx, "Acme's estate"); err != nil {
		return err
	}
	if s.full {
		s.say("They want no release in production that was not rehearsed on its data, and take their own word on the releases back.")
		if err := s.requireRehearsal(ctx); err != nil {
			return err
		}
	}
	if s.initial, err = s.cached().Take(s.data); err != nil {
		return err
	}
	up := waybill.Up{Estate: s.estate(), Listen: s.listen, Log: filepath.Join(s.work, "waybill.log"), WithParent: true}
	s.test = client.Site{Address: s.http[0], Host: "test.acme.example", Database: "acme_test"}
	s.production = client.Site{Address: s.http[1], Host: "erp.acme.example", Database: "acme_production", ComesBack: s.full}
	if s.cluster != nil {
		if up.Serve, err = s.cluster.Serve(s.data); err != nil {
			return err
		}
		s.test.Address, s.production.Address = s.cluster.Traefik, s.cluster.Traefik
	}
	s.say("Waybill starts.")
	if s.server, err = s.cli.Up(ctx, up); err != nil {
		return err
	}
	if s.base != "" {
		return s.mustRun(ctx, slices.Concat([]string{"base", "import", "--name", "odoo:19.0", s.base}, s.registry())...)
	}
	return nil
}

// registry are the flags of verbs that write images, where that is not into Waybill's own registry.
func (s *story) registry() []string {
	if s.cluster == nil {
		return nil
	}
	return []string{"--registry", s.cluster.Registry}
}

// commit has the operators commit what they changed in the estate.
func (s *story) commit(ctx context.Context, message string) error {
	if err := s.git(ctx, "add", "-A"); err != nil {
		return err
	}
	return s.git(ctx, "-c", "user.name=Acme IT", "-c", "user.email=it@acme.example", "commit", "-q", "--no-gpg-sign", "-m", message)
}

func (s *story) git(ctx context.Context, args ...string) error {
	command := exec.CommandContext(ctx, "git", args...)
	command.Dir = s.estate()
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("git %v in the estate: %w: %s", args, err, out)
	}
	return nil
}

// mustRun runs a verb that has to end well.
func (s *story) mustRun(ctx context.Context, args ...string) error {
	code, err := show(ctx, s.cli, args...)
	if err == nil && code != 0 {
		err = fmt.Errorf("waybill %s ended with exit code %d", strings.Join(args, " "), code)
	}
	return err
}

// build makes an image of a release's commit.
func (s *story) build(ctx context.Context, release string) error {
	s.say("Release %s is built from commit %.10s.", release, s.commits[release])
	var built struct {
		Digest string `json:"digest"`
		Commit string `json:"commit"`
	}
	args := slices.Concat([]string{"build", "--source", s.source(), "--name", release, "--commit", s.commits[release]}, s.registry())
	if err := s.cli.Ask(ctx, &built, args...); err != nil {
		return err
	}
	if !strings.HasPrefix(built.Digest, "sha256:") || built.Commit != s.commits[release] {
		return fmt.Errorf("build of %s answered digest %q and commit %q; expected a digest and commit %s", release, built.Digest, built.Commit, s.commits[release])
	}
	return nil
}

// promote brings a release into an environment and compares the end with the one expected. What
// the crew met meanwhile, and while it was rehearsed, goes into the table.
func (s *story) promote(ctx context.Context, release, environment, outcome string) error {
	of, before := asked{}, false
	if environment == "test" {
		of, before = s.takeAhead(release)
	}
	if !before {
		s.say("Release %s goes to %s.", release, environment)
	}
	var mark client.Mark
	working := environment == "production" && s.crew != nil
	if working {
		mark = s.crew.Tally.Mark()
		if s.since != nil {
			mark, s.since = *s.since, nil
		}
	}
	if !before {
		of = s.ask(ctx, release, environment)
	}
	if of.err != nil {
		return of.err
	}
	if environment == "production" && s.next != "" {
		s.goAhead(ctx, s.next, of.promotion)
		s.next = ""
	}
	row := row{release: release, environment: environment, begun: of.begun}
	code, err := show(ctx, s.cli, "promotion", "watch", of.promotion)
	if err != nil {
		return err
	}
	if environment == "production" && s.asks != nil && code == waits {
		if code, err = s.agree(ctx, of.promotion); err != nil {
			return err
		}
	}
	if err := s.cli.Ask(ctx, &row.promotion, "promotion", "show", of.promotion); err != nil {
		return err
	}
	row.ended = time.Now()
	if r := s.rehearsed; r.ReleaseName == release && r.Report != nil {
		row.recovery = r.Report.Recovery
	}
	if working {
		count := s.crew.Tally.Since(mark)
		row.requests = &count
		databaseURL, err := s.databaseURL(s.production.Database)
		if err != nil {
			return err
		}
		audit, err := s.ledger.Audit(ctx, databaseURL)
		if err != nil {
			return err
		}
		row.audit = &audit
	}
	s.rows = append(s.rows, row)

	var errs []error
	if row.promotion.Outcome != outcome || row.promotion.one().Outcome != outcome {
		errs = append(errs, fmt.Errorf("%s in %s ended as %q (%s); the story says %q; see: waybill promotion show %s",
			release, environment, row.promotion.one().Outcome, row.promotion.one().Reason, outcome, of.promotion))
	}
	if expected := map[string]int{promoted: 0, rolledBack: 1}[outcome]; code != expected {
		errs = append(errs, fmt.Errorf("%s in %s: exit code %d, expected %d", release, environment, code, expected))
	}
	if row.audit != nil {
		errs = append(errs, row.audit.Err())
	}
	return errors.Join(errs...)
}

// last is the row of the promotion that has just ended.
func (s *story) last() row { return s.rows[len(s.rows)-1] }

// serves compares what production serves, and its schema, with what the story says.
func (s *story) serves(ctx context.Context, serving, schema string) error {
	var status struct {
		Environments []struct {
			Name    string `json:"name"`
			Tenants []struct {
				Serving string `json:"serving"`
				Schema  string `json:"schema"`
				Mode    string `json:"mode"`
				Canary  int    `json:"canary_percent"`
			} `json:"tenants"`
		} `json:"environments"`
	}
	if err := s.cli.Ask(ctx, &status, "status"); err != nil {
		return err
	}
	for _, e := range status.Environments {
		if e.Name == "production" && len(e.Tenants) == 1 {
			t := e.Tenants[0]
			if t.Serving != serving || t.Schema != schema || t.Mode != "open" || t.Canary != 0 {
				return fmt.Errorf("production serves %s on the schema of %s (%s, canary %d %%); the story says %s on %s, open, no canary",
					t.Serving, t.Schema, t.Mode, t.Canary, serving, schema)
			}
			return nil
		}
	}
	return errors.New("status does not tell of production's tenant")
}

// unharmed says that no request failed and nobody was logged out during the last promotion.
func (s *story) unharmed() error {
	count := s.last().requests
	if count == nil || count.Requests == 0 {
		return fmt.Errorf("nobody worked in production while %s came: the story proves nothing", s.last().release)
	}
	if count.Failed > 0 || count.LoggedOut > 0 {
		return fmt.Errorf("%d of %d requests failed while %s came, %d of them logged out; the first: %s: %w",
			count.Failed, count.Requests, s.last().release, count.LoggedOut, count.Failures[0].What, count.Failures[0].Err)
	}
	frozen := ""
	if hold, _ := s.last().promotion.one().step("hold", false); strings.HasPrefix(hold.Detail, "frozen") {
		frozen = fmt.Sprintf(", %d were asked to come back later", count.TurnedAway)
	} else if count.TurnedAway > 0 {
		return fmt.Errorf("%d requests were turned away while %s came, though nothing was frozen", count.TurnedAway, s.last().release)
	}
	s.say("%d requests of %d people, none failed%s; the slowest took %.1f s.", count.Requests, s.people, frozen, count.Slowest.Seconds())
	return nil
}

// hire lets the crew work on production, and opens the browser there.
func (s *story) hire(ctx context.Context) (err error) {
	s.say("%d people begin to work in production: they place orders and ship them.", s.people)
	if s.ledger, err = client.OpenLedger(filepath.Join(s.work, "orders.jsonl")); err != nil {
		return err
	}
	s.crew = &client.Crew{
		Site: s.production, Login: "clerk", Password: s.initial.Clerk, People: s.people, Pace: s.pace,
		Goods: s.initial.Goods, Ledger: s.ledger, Tally: client.NewTally(), Prefix: "CREW",
	}
	if err := s.crew.Start(ctx); err != nil {
		s.crew = nil
		return err
	}
	if !s.browser {
		return nil
	}
	clerk, err := s.production.Person("clerk", s.initial.Clerk, lastBucket, nil)
	if err != nil {
		return err
	}
	defer clerk.Close()
	if err := clerk.Login(ctx); err != nil {
		return err
	}
	var deliveries []int
	err = clerk.Call(ctx, "stock.picking", "search", []any{[]any{[]any{"dock_id", "!=", false}, []any{"state", "=", "assigned"}}},
		map[string]any{"limit": 1, "order": "id"}, &deliveries)
	if err != nil {
		return err
	}
	if len(deliveries) == 0 {
		return errors.New("production has no open delivery with a dock for the browser to look at")
	}
	s.say("One of them opens the form of a delivery in a browser, and keeps it open.")
	// The first visit of all has Odoo bundle its scripts; the next release need not wait for that to be built and tried in test.
	s.opening = make(chan error, 1)
	go func() {
		w, err := watch(ctx, s.production, "clerk", s.initial.Clerk, deliveries[0], filepath.Join(s.work, "pictures"))
		s.watcher = w
		s.opening <- err
	}()
	return nil
}

// opened returns once the browser shows the form, or nobody opens one. Only then may anybody ask for the watcher.
func (s *story) opened() error {
	if s.opening == nil {
		return nil
	}
	err := <-s.opening
	s.opening = nil
	return err
}

// clearing is how long a cluster may take to let go of the story's namespaces.
const clearing = 5 * time.Minute

// close sends everybody home and stops Waybill.
func (s *story) close() error {
	s.endAhead()
	errs := []error{s.opened()}
	if s.watcher != nil {
		s.watcher.stop()
		s.watcher = nil
	}
	if s.crew != nil {
		errs = append(errs, s.crew.Stop())
	}
	if s.ledger != nil {
		errs = append(errs, s.ledger.Close())
		s.ledger = nil
	}
	if s.server != nil {
		errs = append(errs, s.server.Stop())
		s.server = nil
	}
	if s.cluster != nil {
		ctx, cancel := context.WithTimeout(context.Background(), clearing)
		defer cancel()
		errs = append(errs, s.cluster.Clear(ctx, s.mustRun))
	}
	return errors.Join(errs...)
}

// picture keeps what the browser shows; a picture that cannot be taken spoils nothing.
func (s *story) picture(ctx context.Context, name string) {
	if s.watcher == nil {
		return
	}
	if err := s.watcher.browser.Picture(ctx, name); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
	}
}
