//go:build odoo

package faults

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/examples/acme/client"
	"github.com/waybill-dev/waybill/examples/acme/stage"
	"github.com/waybill-dev/waybill/examples/acme/waybill"
	"github.com/waybill-dev/waybill/internal/api"
)

// routedBack is how soon after the verdict all traffic must be on the old release again.
const routedBack = 5 * time.Second

// TestFaults promotes the corpus: WAYBILL_FAULTS=all every fault and ten clean releases, core (the default) two faults,
// and a comma-separated list of names those. The clean releases come last, one after the other.
func TestFaults(t *testing.T) {
	all, err := readFaults()
	require.NoError(t, err)
	for n := range cleans {
		all = append(all, cleanRelease(n))
	}
	s := open(t, all)
	var table []string
	for _, f := range all {
		if !asked(f) {
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			if f.clean() {
				table = append(table, s.promoted(t, all, f))
				return
			}
			if i := slices.IndexFunc(all, func(before fault) bool { return before.name == f.head["after"] }); i >= 0 {
				s.promoted(t, all, all[i])
			}
			table = append(table, s.caught(t, all, f))
		})
	}
	t.Logf("from the first request on the new release to the verdict, and from the verdict to all traffic on the old one:\n%s", strings.Join(table, "\n"))
}

// asked says whether WAYBILL_FAULTS asks for a release. One that only prepares another comes with that one.
func asked(f fault) bool {
	wanted := strings.Split(cmp.Or(os.Getenv("WAYBILL_FAULTS"), "core"), ",")
	return slices.Contains(wanted, f.name) || slices.Contains(wanted, "all") && f.head["prepares"] == "" ||
		slices.Contains(wanted, "core") && f.head["core"] == "yes"
}

// caught promotes a fault, which must be taken back for what it is.
func (s *shop) caught(t *testing.T, all []fault, f fault) string {
	p := s.promote(t, all, f)
	r := p.Rollouts[0]
	require.Equal(t, "rolled_back", p.Outcome, story(p))
	assert.Regexp(t, regexp.MustCompile(f.head["signal"]), r.Reason)
	began, verdict, back := times(r)
	if began.IsZero() { // a flow found it before any traffic
		line := fmt.Sprintf("%-16s %8s           %s", f.name, "before", r.Reason)
		t.Log(line)
		return line
	}
	require.False(t, back.IsZero(), story(p))
	assert.Less(t, back.Sub(verdict), routedBack, story(p))
	line := fmt.Sprintf("%-16s %6.1f s %5.1f s  %s", f.name, verdict.Sub(began).Seconds(), back.Sub(verdict).Seconds(), r.Reason)
	t.Log(line)
	return line
}

// promoted promotes a release with nothing wrong, which must stay.
func (s *shop) promoted(t *testing.T, all []fault, f fault) string {
	p := s.promote(t, all, f)
	require.Equal(t, "promoted", p.Outcome, story(p))
	began, verdict, _ := times(p.Rollouts[0])
	line := fmt.Sprintf("%-16s %6.1f s          promoted", f.name, verdict.Sub(began).Seconds())
	t.Log(line)
	return line
}

// times are when the new release got traffic, when that was judged, and when it was taken away again.
func times(r api.Rollout) (began, verdict, back time.Time) {
	for _, step := range r.Steps {
		switch {
		case step.Finished == nil:
		case step.Name == "shift" && !step.Undo && began.IsZero():
			began, verdict = step.Started, *step.Finished
		case step.Name == "bake" && !step.Undo && step.Outcome == "failed":
			verdict = *step.Finished
		case step.Name == "shift" && step.Undo:
			back = *step.Finished
		}
	}
	return began, verdict, back
}

func (s *shop) promote(t *testing.T, all []fault, f fault) api.Promotion {
	name := f.name
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
	defer cancel()
	require.NoError(t, writeEstate(filepath.Join(s.Folder, "estate"), s.Site.Address, all, f))
	require.NoError(t, s.Ask(ctx, nil, "build", "--source", filepath.Join(s.Folder, "faults"), "--name", name, "--commit", name))
	stop := s.work(t, f.head["traffic"])
	defer stop()
	before := [3]int64{s.confirmed.Load(), s.validated.Load(), s.failed.Load()}
	var refused *waybill.Refused
	if err := s.Ask(ctx, nil, "promote", name, "production"); err != nil && !errors.As(err, &refused) {
		require.NoError(t, err, s.LogTail())
	}
	t.Logf("%s: %d orders confirmed, %d deliveries validated, %d failures meanwhile", name, s.confirmed.Load()-before[0], s.validated.Load()-before[1], s.failed.Load()-before[2])
	p, err := s.Newest(ctx)
	require.NoError(t, err)
	require.Equal(t, name, p.ReleaseName, refused)
	return p
}

func story(p api.Promotion) string {
	var b strings.Builder
	for _, step := range p.Rollouts[0].Steps {
		took := 0.0
		if step.Finished != nil {
			took = step.Finished.Sub(step.Started).Seconds()
		}
		fmt.Fprintf(&b, "  %s %s undo %t %s %.1f s %s\n", step.Started.Format("15:04:05"), step.Name, step.Undo, step.Outcome, took, step.Detail)
	}
	return b.String() + p.Rollouts[0].Reason
}

// open brings up Acme on its first release, with two carriers and a large table.
func open(t *testing.T, all []fault) *shop {
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	options, err := stage.Here(ctx, "faults")
	require.NoError(t, err)
	options.Log, options.Releases, options.Workers = t.Logf, []string{"r1"}, workers
	opened, err := stage.Open(ctx, options)
	require.NoError(t, err)
	s := &shop{Stage: opened}
	t.Cleanup(func() {
		assert.NoError(t, s.Close(context.Background()))
		_ = os.Remove(options.Binary)
	})
	require.NoError(t, writeSource(ctx, filepath.Join(s.Folder, "faults"), all))
	p, err := s.Site.Person("admin", "admin", 0, client.NewTally())
	require.NoError(t, err)
	defer p.Close()
	require.NoError(t, p.Login(ctx))
	require.NoError(t, s.furnish(ctx, p))
	return s
}
