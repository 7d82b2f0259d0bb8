package report

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Unit is what a figure counts in.
type Unit string

// The units.
const (
	Share   Unit = "share"   // of 1
	Seconds Unit = "seconds" // median
	PerWeek Unit = "per week"
	Ratio   Unit = "ratio" // median
	Count   Unit = "count"
)

// Figure is one number with what it rests on.
type Figure struct {
	Key    string   `json:"key"`
	Value  *float64 `json:"value" doc:"The share, the rate, or the median; null: there was nothing to count"`
	N      int      `json:"n" doc:"Observations that it rests on"`
	Low    *float64 `json:"low,omitempty" doc:"Of a share: lower end of its 95 % interval (Wilson)"`
	High   *float64 `json:"high,omitempty"`
	P90    *float64 `json:"p90,omitempty" doc:"Of durations and ratios: nine of ten are not above it; absent below ten observations"`
	Few    bool     `json:"few,omitempty" doc:"So few observations that the value says little"`
	Note   string   `json:"note,omitempty" doc:"In words, where there is little or nothing"`
	Counts string   `json:"counts,omitempty" doc:"Of a share: how many of how many"`
}

// Definition says what a figure means.
type Definition struct {
	Key    string `json:"key"`
	Name   string `json:"name"`
	Unit   Unit   `json:"unit" enum:"share,seconds,per week,ratio,count"`
	Better string `json:"better" enum:"higher,lower,neither" doc:"Which way is good"`
	Means  string `json:"means"`
}

// The figures, in the order in which they are shown.
const (
	SuccessRate    = "release_success_rate"
	FailureRate    = "change_failure_rate"
	LeadTime       = "lead_time"
	Frequency      = "deployment_frequency"
	Detect         = "time_to_detect"
	Recover        = "time_to_recover"
	ApprovalWait   = "approval_wait"
	PeopleWaited   = "people_waited"
	Prediction     = "actual_by_predicted"
	CheckpointRate = "checkpoint_success_rate"
	AnsweredRate   = "rehearsal_answer_rate"
	ProvenRate     = "rehearsal_proven_rate"
	Refused        = "refused"
	Drifted        = "drifted_objects"
	DriftLasted    = "drift_lasted"
)

var definitions = []Definition{
	{SuccessRate, "Release success rate", Share, "higher", "Promotions of a release that ended with every tenant on it, of all that were let in and have ended. What was refused before anything was touched counts below, not here."},
	{FailureRate, "Change failure rate", Share, "lower", "Of the promotions that put a release before people, those of which at least one tenant had to go back: by itself, because somebody said so, or by a rollback or restore afterwards, whenever that was."},
	{LeadTime, "Lead time", Seconds, "lower", "From the release's commit to the end of a promotion that brought it to a tenant there for the first time, and to all that took part. Of a dirty build, or where the commit's time is not known: from when the server learnt of the release. Of the whole: to the last environment of the pipeline."},
	{Frequency, "Deployment frequency", PerWeek, "higher", "Promotions that left a release with at least one tenant, by week of the period."},
	{Detect, "Time to detect", Seconds, "lower", "Of promotions that had to go back after people had the release: from the first traffic on it to the moment when a verdict, a check or a person said so. Of several tenants the longest."},
	{Recover, "Time to recover", Seconds, "lower", "From that moment until people had the release before again: the route was back, or the hold had ended. Of several tenants the longest."},
	{ApprovalWait, "Approval waiting time", Seconds, "lower", "Of promotions that somebody approved: from when the gates first asked to the last approval before they opened; zero where it was there already."},
	{PeopleWaited, "People waited", Seconds, "lower", "How long a tenant's requests were held or its page was shown, of tenants whose database was updated or restored."},
	{Prediction, "Actual by predicted waiting", Ratio, "neither", "Of promoted tenants for which a rehearsal had predicted how long people wait: what it was, divided by what was predicted. 1 is right, 2 is twice as long."},
	{CheckpointRate, "Checkpoint success rate", Share, "higher", "Steps that took a checkpoint and read it back, of all such steps that came to an end; tries that were repeated and succeeded are successes."},
	{AnsweredRate, "Rehearsals with an answer", Share, "higher", "Rehearsals that proved a class or that the update fails, of all that ended. The others were cancelled, or their server stopped, or something else kept them from an answer."},
	{ProvenRate, "Rehearsals that passed", Share, "higher", "Rehearsals whose update went through, of those with an answer. Each restores a checkpoint: so this many restores were tried as well."},
	{Refused, "Refused at the door", Count, "neither", "Promotions of a release that a check, a rehearsal, a policy or a person did not let in. Nothing was touched."},
	{Drifted, "Objects changed by others", Count, "lower", "Objects of a cluster that were found in the period not to be as Waybill had applied them: changed, added to or deleted by somebody else. One that was brought back and changed again counts again."},
	{DriftLasted, "Drift lasted", Seconds, "lower", "From when such a change was found until the object was as applied again, by whomever and whenever that was."},
}

// Definitions say what each figure means, in the order in which they are shown.
func Definitions() []Definition { return slices.Clone(definitions) }

// figures are all there are of a part of the data, in the order of the definitions.
func figures(d Data, period time.Duration, by By, last string) []Figure {
	list, refused := changes(d, by, last)
	var promoted, some, served, taken int
	var lead, detect, recover, approval, waited, ratios []float64
	for _, c := range list {
		count(&promoted, c.promoted)
		count(&some, c.some)
		count(&served, c.served)
		count(&taken, c.taken)
		if c.promoted && c.first && c.last && !c.committed.IsZero() && !c.ended.Before(c.committed) {
			lead = append(lead, c.ended.Sub(c.committed).Seconds())
		}
		if c.taken {
			detect = append(detect, max(c.detect, 0).Seconds())
			if c.recover > 0 {
				recover = append(recover, c.recover.Seconds())
			}
		}
		if !c.approved.IsZero() && !c.asked.IsZero() {
			approval = append(approval, max(c.approved.Sub(c.asked), 0).Seconds())
		}
	}
	var checkpoints, lost int
	for i := range d.Rollouts {
		r := &d.Rollouts[i]
		checkpoints += r.Checkpoints
		lost += r.CheckpointsFailed
		if r.Held > 0 {
			waited = append(waited, r.Held)
		}
		if r.Kind == KindPromote && r.Promoted && r.Predicted > 0 && r.Held > 0 {
			ratios = append(ratios, r.Held/r.Predicted)
		}
	}
	var proven, answered int
	for _, r := range d.Rehearsals {
		count(&proven, r.Outcome == "proven")
		count(&answered, r.Outcome == "proven" || r.Outcome == "fails")
	}
	rehearsed := len(d.Rehearsals)
	var lasted []float64
	for _, x := range d.Drifts {
		if !x.Ended.IsZero() {
			lasted = append(lasted, max(x.Ended.Sub(x.Found), 0).Seconds())
		}
	}
	return []Figure{
		share(SuccessRate, promoted, len(list)),
		share(FailureRate, taken, served),
		spread(LeadTime, lead),
		frequency(some, period),
		spread(Detect, detect),
		spread(Recover, recover),
		spread(ApprovalWait, approval),
		spread(PeopleWaited, waited),
		spread(Prediction, ratios),
		share(CheckpointRate, checkpoints, checkpoints+lost),
		share(AnsweredRate, answered, rehearsed),
		share(ProvenRate, proven, answered),
		{Key: Refused, Value: number(float64(refused)), N: refused},
		{Key: Drifted, Value: number(float64(len(d.Drifts))), N: len(d.Drifts)},
		spread(DriftLasted, lasted),
	}
}

func count(n *int, yes bool) {
	if yes {
		*n++
	}
}

func number(x float64) *float64 { return &x }

const nothing = "nothing to count in this period"

// basis notes what little there is.
func (f Figure) basis() Figure {
	switch {
	case f.N == 0:
		f.Note = nothing
	case f.N < Few:
		f.Few, f.Note = true, "too few to say much"
	}
	return f
}

// share is k of n, with Wilson's 95 % interval: E. B. Wilson, Probable inference, the law of succession, and statistical
// inference, J. Am. Stat. Assoc. 22 (1927). It stays within 0 and 1, and is of use for few observations too.
func share(key string, k, n int) Figure {
	f := Figure{Key: key, N: n}
	if n > 0 {
		const z = 1.959963984540054
		p, total := float64(k)/float64(n), float64(n)
		middle := (p + z*z/(2*total)) / (1 + z*z/total)
		half := z / (1 + z*z/total) * math.Sqrt(p*(1-p)/total+z*z/(4*total*total))
		f.Value, f.Low, f.High = number(p), number(max(middle-half, 0)), number(min(middle+half, 1))
		f.Counts = fmt.Sprintf("%d of %d", k, n)
	}
	return f.basis()
}

// spread is the median, and the 90th percentile by nearest rank.
func spread(key string, values []float64) Figure {
	f := Figure{Key: key, N: len(values)}
	if n := len(values); n > 0 {
		slices.Sort(values)
		f.Value = number((values[(n-1)/2] + values[n/2]) / 2)
		if n >= Tail {
			f.P90 = number(values[(n*9+9)/10-1])
		}
	}
	return f.basis()
}

// frequency is a rate of the whole period: a week without a promotion is an observation too, so nothing is too few but time.
func frequency(n int, period time.Duration) Figure {
	const week = 7 * 24 * time.Hour
	f := Figure{Key: Frequency, N: n, Value: number(float64(n) / (period.Seconds() / week.Seconds()))}
	if period < week {
		f.Few, f.Note = true, "less than a week"
	}
	return f
}
