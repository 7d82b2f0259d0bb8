package impact

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/ring"
)

// Summary is what a release manager reads aloud and signs.
type Summary struct {
	Tenants    int                  `json:"tenants"`
	Rings      int                  `json:"rings"`
	Classes    map[estate.Class]int `json:"classes"`
	Assumed    int                  `json:"assumed"`    // of them: nobody knows the class
	Rehearsals int                  `json:"rehearsals"` // that a promotion would ask for
	Pause      *Longest             `json:"pause,omitempty"`
	Recovery   *Longest             `json:"recovery,omitempty"`
	NoPause    []string             `json:"no_pause"`    // tenants of which nobody knows how long people would wait
	NoRecovery []string             `json:"no_recovery"` // likewise, for a restore
	Unknown    []string             `json:"unknown"`     // tenants that could not be looked at
	Through    Through              `json:"through"`
	Approvals  []string             `json:"approvals"`
	Closed     []string             `json:"closed"`  // tenants whose window is closed now
	Stopped    []string             `json:"stopped"` // tenants at which it would not be let in
	Against    []Against            `json:"against"`
}

// Longest is the longest of the times that are known.
type Longest struct {
	Tenant  string  `json:"tenant"`
	Seconds float64 `json:"seconds"`
	From    string  `json:"from"`
}

// Against is what stands against a release, and where.
type Against struct {
	Kind    string   `json:"kind"`
	Stops   bool     `json:"stops"`
	Tenants []string `json:"tenants"`
}

// Through is how long a release takes through the rings if nothing goes wrong and nobody has to be waited for: neither
// windows nor approvals are in it.
type Through struct {
	Seconds float64    `json:"seconds"`
	AtLeast bool       `json:"at_least,omitempty"` // of some tenants not all is known
	Rings   []RingTime `json:"rings"`              // empty: there are none, and all go at once
}

// RingTime is when a ring begins and ends, in seconds after the first one begins.
type RingTime struct {
	Name    string  `json:"name"`
	Tenants int     `json:"tenants"`
	Begins  float64 `json:"begins"`
	Ends    float64 `json:"ends"`
	AtOnce  int     `json:"at_once"`
	Soak    float64 `json:"soak"`
	AtLeast bool    `json:"at_least,omitempty"`
}

func sum(tenants []Tenant, rings []ring.Ring) Summary {
	s := Summary{Tenants: len(tenants), Classes: map[estate.Class]int{}, NoPause: []string{}, NoRecovery: []string{}, Unknown: []string{},
		Approvals: []string{}, Closed: []string{}, Stopped: []string{}, Against: []Against{}}
	byKind := map[string]*Against{}
	longest := func(l **Longest, missing *[]string, t Tenant, e Estimate) {
		switch {
		case e.Seconds == nil:
			*missing = append(*missing, t.Name)
		case *l == nil || *e.Seconds > (*l).Seconds:
			*l = &Longest{t.Name, *e.Seconds, e.From}
		}
	}
	rehearsed := map[string]bool{}
	for _, t := range tenants {
		if t.Unknown != "" {
			s.Unknown = append(s.Unknown, t.Name)
		}
		if t.Class != "" {
			s.Classes[t.Class]++
		}
		if t.Source == Assumed {
			s.Assumed++
		}
		if t.RehearsedBy != "" {
			rehearsed[t.RehearsedBy] = true
		}
		longest(&s.Pause, &s.NoPause, t, t.Pause)
		longest(&s.Recovery, &s.NoRecovery, t, t.Recovery)
		for _, who := range t.Approvals {
			if !slices.Contains(s.Approvals, who) {
				s.Approvals = append(s.Approvals, who)
			}
		}
		if !t.Window.Open {
			s.Closed = append(s.Closed, t.Name)
		}
		if t.Stops() {
			s.Stopped = append(s.Stopped, t.Name)
		}
		for _, c := range t.Conflicts {
			key := fmt.Sprint(c.Kind, c.Stops)
			if byKind[key] == nil {
				byKind[key] = &Against{Kind: c.Kind, Stops: c.Stops}
			}
			if names := &byKind[key].Tenants; !slices.Contains(*names, t.Name) {
				*names = append(*names, t.Name)
			}
		}
	}
	s.Rehearsals = len(rehearsed)
	for _, a := range byKind {
		s.Against = append(s.Against, *a)
	}
	slices.SortFunc(s.Against, func(a, b Against) int { // what stops it first
		if a.Stops != b.Stops {
			if a.Stops {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(len(b.Tenants), len(a.Tenants)), strings.Compare(a.Kind, b.Kind))
	})
	s.Through = through(tenants, rings)
	s.Rings = len(s.Through.Rings)
	return s
}

// through plays the rings: each begins when those before it have ended and soaked, and has so many tenants under way at
// the same time, in the order in which they are listed.
func through(tenants []Tenant, rings []ring.Ring) Through {
	of := map[string][]Tenant{}
	for _, t := range tenants {
		of[t.Ring] = append(of[t.Ring], t)
	}
	all := Through{Rings: []RingTime{}}
	if len(rings) == 0 {
		for _, t := range tenants {
			seconds, sure := t.takes()
			all.Seconds, all.AtLeast = max(all.Seconds, seconds), all.AtLeast || !sure
		}
		return all
	}
	passed := map[string]float64{} // when those after it may begin
	for range rings {              // at most so many rounds, whatever their order in the list
		for _, r := range rings {
			if _, done := passed[r.Name]; done || slices.ContainsFunc(r.After, func(before string) bool {
				_, done := passed[before]
				return !done && slices.ContainsFunc(rings, func(x ring.Ring) bool { return x.Name == before })
			}) {
				continue
			}
			begins := 0.0
			for _, before := range r.After {
				begins = max(begins, passed[before])
			}
			if len(of[r.Name]) == 0 { // holds nobody back
				passed[r.Name] = begins
				continue
			}
			t := RingTime{Name: r.Name, Tenants: len(of[r.Name]), Begins: begins, Ends: begins, AtOnce: max(1, r.AtOnce), Soak: r.Soak.Seconds()}
			free := make([]float64, min(t.AtOnce, t.Tenants)) // when each of the places is free
			for i := range free {
				free[i] = begins
			}
			for _, tenant := range of[r.Name] {
				seconds, sure := tenant.takes()
				first := 0
				for i := range free {
					if free[i] < free[first] {
						first = i
					}
				}
				free[first] += seconds
				t.Ends, t.AtLeast = max(t.Ends, free[first]), t.AtLeast || !sure
			}
			passed[r.Name] = t.Ends + t.Soak
			all.Rings = append(all.Rings, t)
			all.Seconds, all.AtLeast = max(all.Seconds, t.Ends), all.AtLeast || t.AtLeast
		}
	}
	return all
}

func (t Tenant) takes() (seconds float64, sure bool) {
	if t.Rollout.Seconds == nil {
		return 0, false
	}
	return *t.Rollout.Seconds, !t.Rollout.AtLeast
}

// order is by ring as the estate lists them, then by name.
func (a *Assessment) order(rings []ring.Ring) {
	place := func(name string) int {
		return slices.IndexFunc(rings, func(r ring.Ring) bool { return r.Name == name })
	}
	slices.SortStableFunc(a.Tenants, func(x, y Tenant) int {
		return cmp.Or(cmp.Compare(place(x.Ring), place(y.Ring)), strings.Compare(x.Name, y.Name))
	})
}

// New makes an assessment of rows: in order, and summed up.
func New(a Assessment, rings []ring.Ring) *Assessment {
	a.At = a.At.UTC().Truncate(time.Second)
	a.order(rings)
	a.Summary = sum(a.Tenants, rings)
	return &a
}
