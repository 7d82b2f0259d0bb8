//go:build odoo

package bench

import (
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/examples/acme/client"
	"github.com/waybill-dev/waybill/examples/acme/stage"
)

// BenchmarkSwap compares a promotion that changes nothing in the database with a restart of the
// pool's container, as people do who have no router: how many requests fail, and for how long
// nobody gets an answer.
func BenchmarkSwap(b *testing.B) {
	s := theStage(b)
	name := swapRelease(b, s)
	for b.Loop() {
		through := probe(b, s.Site.Address)
		began := time.Now()
		if err := s.Ask(b.Context(), nil, "promote", name, stage.Environment); err != nil {
			b.Fatalf("%v\n%s", err, s.LogTail())
		}
		took := time.Since(began)
		ours := through.stop()

		web, address := webContainer(b, s)
		direct := probe(b, address)
		if out, err := exec.CommandContext(b.Context(), "docker", "restart", "--time", "30", web).CombinedOutput(); err != nil {
			b.Fatalf("docker restart: %v: %s", err, out)
		}
		_, now := webContainer(b, s) // the engine may have given it another address
		direct.moveTo(now)
		direct.awaitGood(b)
		theirs := direct.stop()
		if theirs.failed == 0 {
			b.Errorf("no request failed while the container was restarted: the probe proves nothing")
		}
		report(b, "swap: nobody answers", "s", ours.longest.Seconds(), theirs.longest.Seconds(), "docker restart of the pool")
		report(b, "swap: failed requests", "requests", float64(ours.failed), float64(theirs.failed), "docker restart of the pool")
		report(b, "swap: whole", "s", took.Seconds(), theirs.longest.Seconds(), "docker restart, to the first good answer")
	}
}

// swapRelease builds a release of r1's modules with another README: other digest, same database.
func swapRelease(b *testing.B, s *stage.Stage) string {
	b.Helper()
	source := filepath.Join(s.Folder, "source")
	git := func(args ...string) {
		b.Helper()
		command := exec.CommandContext(b.Context(), "git", append([]string{"-c", "user.name=Acme IT", "-c", "user.email=it@acme.example"}, args...)...)
		command.Dir = source
		if out, err := command.CombinedOutput(); err != nil {
			b.Fatalf("git %v: %v: %s", args, err, out)
		}
	}
	git("checkout", "-q", "-b", "swap", "r1")
	if err := os.WriteFile(filepath.Join(source, "README.md"), []byte("Another README.\n"), 0o644); err != nil {
		b.Fatal(err)
	}
	git("commit", "-q", "--no-gpg-sign", "-am", "README")
	if err := s.Ask(b.Context(), nil, "build", "--source", source, "--name", "swap", "--commit", "swap"); err != nil {
		b.Fatal(err)
	}
	return "swap"
}

// webContainer is the serving pool's web process: container and host:port.
func webContainer(b *testing.B, s *stage.Stage) (name, address string) {
	b.Helper()
	containers, err := s.Containers(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range containers {
		if strings.HasSuffix(c, "-web") {
			name = strings.TrimPrefix(c, "container ")
		}
	}
	out, err := exec.CommandContext(b.Context(), "docker", "inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}", name).Output()
	if err != nil || len(strings.Fields(string(out))) == 0 {
		b.Fatalf("address of container %q: %v", name, err)
	}
	return name, strings.Fields(string(out))[0] + ":8069"
}

// prober asks for the login page 20 times a second, each request on its own and from another
// session bucket, as many people would: a release that gets its share of them can be judged.
type prober struct {
	http *http.Client
	quit chan struct{}
	done sync.WaitGroup
	good chan struct{} // signalled with each good answer

	mu       sync.Mutex
	address  string
	asked    int
	requests int
	failed   int
	lastGood time.Time
	longest  time.Duration // without a good answer
}

type tally struct {
	requests, failed int
	longest          time.Duration
}

func probe(b *testing.B, address string) *prober {
	b.Helper()
	p := &prober{http: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		quit: make(chan struct{}), good: make(chan struct{}, 1)}
	p.moveTo(address)
	p.ask(b.Context())
	if p.failed > 0 {
		b.Fatalf("the login page at %s is not there before anything happens", address)
	}
	p.done.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-p.quit:
				return
			case <-tick.C:
				p.done.Go(func() { p.ask(b.Context()) })
			}
		}
	})
	return p
}

// moveTo has the next requests go to another host:port.
func (p *prober) moveTo(address string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.address = address
}

func (p *prober) ask(ctx context.Context) {
	p.mu.Lock()
	url, bucket := "http://"+p.address+"/web/login", p.asked*37%100
	p.asked++
	p.mu.Unlock()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		panic(err) // an address of our own
	}
	request.Host = stage.Host
	request.AddCookie(&http.Cookie{Name: client.BucketCookie, Value: strconv.Itoa(bucket)})
	answer, err := p.http.Do(request)
	ok := err == nil && answer.StatusCode == http.StatusOK
	if err == nil {
		_, err = io.Copy(io.Discard, io.LimitReader(answer.Body, 1<<20))
		_ = answer.Body.Close()
		ok = ok && err == nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests++
	if !ok {
		p.failed++
		return
	}
	now := time.Now()
	if !p.lastGood.IsZero() {
		p.longest = max(p.longest, now.Sub(p.lastGood))
	}
	p.lastGood = now
	select {
	case p.good <- struct{}{}:
	default:
	}
}

// awaitGood waits for an answer that is good from now on.
func (p *prober) awaitGood(b *testing.B) {
	b.Helper()
	select {
	case <-p.good: // an old one
	default:
	}
	ctx, cancel := context.WithTimeout(b.Context(), 3*time.Minute)
	defer cancel()
	select {
	case <-p.good:
	case <-ctx.Done():
		b.Fatal("no good answer within three minutes of the restart")
	}
}

func (p *prober) stop() tally {
	close(p.quit)
	p.done.Wait()
	return tally{p.requests, p.failed, p.longest}
}
