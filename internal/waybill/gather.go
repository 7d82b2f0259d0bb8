package waybill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/attest"
	"github.com/waybill-dev/waybill/internal/checkpoint"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/internal/odoo"
	"github.com/waybill-dev/waybill/internal/promotion"
	"github.com/waybill-dev/waybill/internal/rehearsal"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/store"
)

// maxSchema is how many changes of the schema are listed.
const maxSchema = 200

// ErrNone is returned for a promotion that no waybill can be cut of.
var ErrNone = errors.New("there is no waybill")

// Sources are what a waybill is cut from.
type Sources struct {
	Store       *store.Store
	Ledger      *ledger.Ledger
	Checkpoints *checkpoint.Store
	// Attestations reads what was signed of a release, and holds it against the estate's trust for the environment.
	Attestations func(ctx context.Context, r release.Release, environment string) (attest.Report, error)
	Version      string // of Waybill
}

// Gather cuts the waybill of a promotion. What cannot be found out is said in its place; the document is
// only refused where the promotion is not known or its ledger cannot be vouched for.
func (s Sources) Gather(ctx context.Context, id string) (Document, error) {
	d := Document{Issued: time.Now().UTC().Truncate(time.Second), IssuedBy: s.Version, Changes: []Changes{}, Rollouts: []Rollout{}, Approvals: []Decision{}}
	p, err := s.Store.Promotion(ctx, id)
	if err != nil {
		return d, err
	}
	rollouts, err := s.Store.Rollouts(ctx, id)
	if err != nil {
		return d, err
	}
	var options promotion.Options
	if err := json.Unmarshal(p.Options, &options); err != nil {
		return d, fmt.Errorf("what is stored of promotion %s does not parse: %w", id, err)
	}
	d.Promotion = Promotion{ID: p.ID, Kind: p.Kind, Environment: p.Environment, RequestedBy: p.RequestedBy, EstateCommit: p.EstateCommit, Forced: options.Force, Of: options.Of,
		Created: p.CreatedAt.UTC(), Finished: inUTC(p.FinishedAt), Outcome: p.Outcome, Class: p.Class}
	memories := make([]promotion.Memory, len(rollouts))
	for i, r := range rollouts {
		if err := json.Unmarshal(r.Memory, &memories[i]); err != nil {
			return d, fmt.Errorf("what is stored of rollout %s does not parse: %w", r.ID, err)
		}
	}
	digest := p.Release
	for _, m := range memories {
		if digest == "" { // a restore names a checkpoint, and learns from it which release belongs to that
			digest = m.Release
		}
	}
	if digest == "" {
		return d, fmt.Errorf("%w of promotion %s (%s): it brought no release anywhere. The ledger has what was done: waybill ledger list --promotion %s", ErrNone, id, p.Kind, id)
	}
	target, err := s.Store.Release(ctx, digest)
	if err != nil {
		return d, fmt.Errorf("release %s of promotion %s: %w", digest, id, err)
	}
	d.Release = releaseOf(target)
	if err := s.rollouts(ctx, &d, rollouts, memories); err != nil {
		return d, err
	}
	if err := s.changes(ctx, &d, target, memories); err != nil {
		return d, err
	}
	if d.Emergency, err = s.emergency(ctx, p.ID); err != nil {
		return d, err
	}
	d.Origin = s.origin(ctx, target, p.Environment)
	if d.Reverse, err = s.reverse(ctx, p, rollouts, memories); err != nil {
		return d, err
	}
	if d.Ledger, err = s.Ledger.Prove(ctx, id); err != nil {
		return d, err
	}
	d.Approvals = decisions(d.Ledger.Entries)
	return d, nil
}

func (s Sources) emergency(ctx context.Context, promotion string) (*Emergency, error) {
	x, err := s.Store.Emergency(ctx, promotion)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	view := &Emergency{AskedBy: x.AskedBy, Reason: x.Reason, Asked: x.AskedAt.UTC(), Second: x.Second, ConfirmBy: x.ConfirmBy.UTC(), Confirmed: inUTC(x.ConfirmedAt), Skipped: append([]string{}, x.Skipped...)}
	if x.ReviewedAt != nil {
		view.Review = &Review{By: x.ReviewedBy, Closed: x.ReviewedAt.UTC(), Note: x.Note}
	}
	return view, nil
}

func inUTC(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := t.UTC()
	return &u
}

func releaseOf(r release.Release) Release {
	return Release{Name: r.Name, Digest: r.Digest, Repository: r.Repository, Series: r.Series, Source: r.Source, Commit: r.Commit, Dirty: r.Dirty,
		Committed: r.Created.UTC(), Base: r.Base.Reference, BaseDigest: r.Base.Digest, BuiltWith: r.Waybill}
}

func (s Sources) changes(ctx context.Context, d *Document, target release.Release, memories []promotion.Memory) error {
	var before []string
	for _, m := range memories {
		if m.OldRelease != "" && m.OldRelease != target.Digest && !slices.Contains(before, m.OldRelease) {
			before = append(before, m.OldRelease)
		}
	}
	for _, digest := range before {
		old, err := s.Store.Release(ctx, digest)
		if errors.Is(err, store.ErrNotFound) {
			d.Changes = append(d.Changes, Changes{From: Release{Digest: digest, Name: digest}, Unknown: "that release is not known here any more"})
			continue
		} else if err != nil {
			return err
		}
		c := Changes{From: releaseOf(old)}
		if difference, err := odoo.Compare(old, target); err != nil {
			c.Unknown = err.Error()
		} else {
			c.Modules = &difference
		}
		d.Changes = append(d.Changes, c)
	}
	return nil
}

func (s Sources) origin(ctx context.Context, r release.Release, environment string) Origin {
	o := Origin{Statements: []Statement{}}
	report, err := s.Attestations(ctx, r, environment)
	if err != nil {
		o.Unknown = err.Error()
	}
	for _, a := range report.Attestations {
		said := Statement{Type: attest.ShortName(a.Type), Digest: a.Digest, Holds: a.OK, Key: a.KeyName, KeyID: a.KeyID, Builder: a.Builder, Source: a.Source, Commit: a.Commit}
		if a.Refused != nil {
			said.Refused = a.Refused.Reason
		}
		o.Statements = append(o.Statements, said)
	}
	if a, ok := report.Find(attest.Checks); ok {
		var checks struct {
			Passed *bool          `json:"passed"`
			Counts map[string]int `json:"counts"`
		}
		if err := json.Unmarshal(a.Predicate(), &checks); err == nil {
			o.Checks, o.Passed = checks.Counts, checks.Passed
		}
	}
	return o
}

func (s Sources) rollouts(ctx context.Context, d *Document, rollouts []store.Rollout, memories []promotion.Memory) error {
	ids := make([]string, len(rollouts))
	for i, r := range rollouts {
		ids[i] = r.ID
	}
	steps, err := s.Store.Steps(ctx, ids...)
	if err != nil {
		return err
	}
	verdicts, err := s.Store.Verdicts(ctx, ids...)
	if err != nil {
		return err
	}
	for i, r := range rollouts {
		m := memories[i]
		view := Rollout{Tenant: r.Tenant, Before: m.OldRelease, Outcome: r.Outcome, Reason: r.Reason, Class: string(m.Plan.Class), ClassReason: m.Plan.ClassReason,
			Update: m.Plan.Update, Install: m.Plan.Install, OneTransaction: m.Plan.Transactional, HeldSeconds: r.HeldSeconds, PredictedSeconds: m.Plan.PredictedSeconds,
			Checkpoints: []Checkpoint{}, Traffic: []Traffic{}, Steps: []Step{}}
		if view.Rehearsal, err = s.rehearsal(ctx, m.Plan.Rehearsal); err != nil {
			return err
		}
		for _, each := range steps {
			if each.RolloutID != r.ID {
				continue
			}
			view.Steps = append(view.Steps, Step{Name: each.Name, Undo: each.Undo, Outcome: each.Outcome, Detail: each.Detail, Started: each.StartedAt.UTC(), Finished: inUTC(each.FinishedAt)})
			if (each.Name == "shift" || each.Name == "bake") && !each.Undo && each.Outcome != "skipped" {
				view.Traffic = append(view.Traffic, traffic(each)...)
			}
		}
		if decided, err := judged(verdicts, r.ID); err != nil {
			return err
		} else if len(decided) > 0 { // with all the evidence; the steps' records have one line of it
			view.Traffic = decided
		}
		for _, one := range []struct {
			id      string
			inFence bool
		}{{m.Checkpoint, false}, {m.FenceCheckpoint, true}} {
			if one.id != "" {
				view.Checkpoints = append(view.Checkpoints, s.checkpoint(ctx, r, one.id, one.inFence, view.Rehearsal))
			}
		}
		d.Rollouts = append(d.Rollouts, view)
	}
	return nil
}

func (s Sources) checkpoint(ctx context.Context, r store.Rollout, id string, inFence bool, measured *Rehearsal) Checkpoint {
	c := Checkpoint{ID: id, InFence: inFence}
	info, err := s.Checkpoints.List(ctx, r.Environment, r.Tenant)
	if err != nil {
		c.Missing = err.Error()
		return c
	}
	i := slices.IndexFunc(info, func(x checkpoint.Info) bool { return x.ID == id })
	if i < 0 {
		c.Missing = "it is no longer kept"
		return c
	}
	c.RecoveryPoint, c.Verified, c.Seconds, c.Bytes, c.Files = info[i].RecoveryPoint.UTC(), info[i].Verified.UTC(), info[i].Seconds, info[i].Bytes, info[i].FileCount
	if measured != nil {
		c.RecoverySeconds = measured.RecoverySeconds
	}
	return c
}

func (s Sources) rehearsal(ctx context.Context, id string) (*Rehearsal, error) {
	if id == "" {
		return nil, nil
	}
	kept, err := s.Store.Rehearsal(ctx, id)
	if errors.Is(err, store.ErrNotFound) || err == nil && (len(kept.Report) == 0 || string(kept.Report) == "null") {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var r rehearsal.Report
	if err := json.Unmarshal(kept.Report, &r); err != nil {
		return nil, fmt.Errorf("the report of rehearsal %s does not parse: %w", id, err)
	}
	view := &Rehearsal{ID: r.ID, Outcome: r.Outcome, Class: string(r.Class), Cause: r.Cause, Checkpoint: r.Checkpoint, RecoveryPoint: r.RecoveryPoint.UTC(),
		PredictedSeconds: r.PredictedSeconds, RecoverySeconds: r.RecoverySeconds, Tables: r.Restore.Tables, Rows: r.Restore.Rows, Schema: []SchemaChange{}}
	if r.WayBack != nil {
		view.OldWorks = &r.WayBack.Works
	}
	if r.Effect != nil {
		for i, c := range r.Effect.Schema {
			if i == maxSchema {
				view.SchemaLeftOut = len(r.Effect.Schema) - maxSchema
				break
			}
			view.Schema = append(view.Schema, SchemaChange{c.Kind, c.Name, c.Before, c.After})
		}
	}
	return view, nil
}

// weightMark is where the evidence of a weight begins in the record of a shift.
var weightMark = regexp.MustCompile(`(?:^|; )(\d+ %)(?:: | on )`)

// traffic takes the record of a shift apart, a part for each weight.
func traffic(s store.Step) []Traffic {
	marks := weightMark.FindAllStringSubmatchIndex(s.Detail, -1)
	if s.Outcome != "done" {
		return []Traffic{{Step: s.Name, Evidence: s.Outcome + ": " + s.Detail}}
	}
	if s.Name != "shift" || len(marks) == 0 {
		return []Traffic{{Step: s.Name, Evidence: s.Detail}}
	}
	var list []Traffic
	for i, m := range marks {
		end := len(s.Detail)
		if i+1 < len(marks) {
			end = marks[i+1][0]
		}
		list = append(list, Traffic{Step: s.Name, Weight: s.Detail[m[2]:m[3]], Evidence: s.Detail[m[1]:end]})
	}
	return list
}

// judged are the verdicts on a rollout, in the order of time.
func judged(verdicts []store.Verdict, rollout string) ([]Traffic, error) {
	var list []Traffic
	for _, v := range verdicts {
		if v.RolloutID != rollout {
			continue
		}
		var evidence promotion.Verdict
		if err := json.Unmarshal(v.Evidence, &evidence); err != nil {
			return nil, fmt.Errorf("the evidence of the verdict on %s of rollout %s does not parse: %w", v.Stage, rollout, err)
		}
		step, _, _ := strings.Cut(v.Stage, " ")
		t := Traffic{Step: step, Weight: fmt.Sprintf("%d %%", evidence.Weight), Outcome: v.Outcome, Evidence: v.Says}
		for _, signal := range evidence.Signals {
			s := Signal{Name: signal.Signal, Outcome: string(signal.Outcome), Says: signal.Says}
			if c := signal.Chart; c != nil {
				s.Chart = &Chart{Since: c.Since, Slice: c.Slice, Unit: c.Unit, New: c.Canary, Old: c.Stable}
			}
			t.Signals = append(t.Signals, s)
		}
		list = append(list, t)
	}
	return list, nil
}

// decisions are what people said yes or no to.
func decisions(entries []ledger.Entry) []Decision {
	list := []Decision{}
	for _, e := range entries {
		if !strings.HasPrefix(e.Kind, "approval.") {
			continue
		}
		var said struct {
			Reason string `json:"reason"`
			Detail string `json:"detail"`
		}
		_ = e.Payload.Into(&said) // without a reason there is none to show
		if said.Reason == "" {
			said.Reason = said.Detail
		}
		kind := strings.TrimPrefix(e.Kind, "approval.")
		if kind == "given" {
			kind = "approved"
		}
		list = append(list, Decision{Sequence: e.Sequence, Time: e.Time, Actor: e.Actor, Kind: kind, Detail: said.Reason})
	}
	return list
}
