package estate

import (
	"fmt"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/calendar"
)

// Scale is how many pods serve requests in each pool of an environment, on Kubernetes. Docker runs one process of each kind.
type Scale struct {
	Web    WebPods    `yaml:"web" json:"web"`
	Floors []PodFloor `yaml:"floors" json:"floors,omitempty"` // times of known peaks, in which there are more from the beginning on; they need web.max
}

// WebPods is how many there are.
type WebPods struct {
	Min int `yaml:"min" json:"min"`           // so many always; default 1
	Max int `yaml:"max" json:"max,omitempty"` // an autoscaler adds pods up to so many; needs resources.cpus; default: there is none
	CPU int `yaml:"cpu" json:"cpu,omitempty"` // percent of resources.cpus that the pods use on average, beyond which one is added; default 70
}

// PodFloor is a time in which there are so many pods at least: by a rule with times of day, or by dates, as in a calendar.
type PodFloor struct {
	Name     string        `yaml:"name" json:"name"`
	RRule    string        `yaml:"rrule" json:"rrule,omitempty"`       // recurrence rule (RFC 5545) without DTSTART, like FREQ=WEEKLY;BYDAY=MO,TU
	Starting string        `yaml:"starting" json:"starting,omitempty"` // first day of the rule, like 2027-01-31; needed with INTERVAL and COUNT
	From     string        `yaml:"from" json:"from,omitempty"`         // with rrule: time of day, like "05:30"; without: the first day or moment, like 2026-11-27T06:00
	To       string        `yaml:"to" json:"to,omitempty"`             // likewise; a day is the last one, a time of day not after from is on the next day
	Duration time.Duration `yaml:"duration" json:"duration,omitempty"` // instead of to: elapsed time, whatever the clocks do; 1m to 8784h
	Timezone string        `yaml:"timezone" json:"timezone"`           // IANA name of the zone that its times are in, like Europe/Berlin
	Web      int           `yaml:"web" json:"web"`                     // so many pods at least
}

// defaultPodCPU leaves room for what comes in while another pod starts.
const defaultPodCPU = 70

var (
	podsSpan   = span[int]{1, 200} // a namespace takes 500 pods of all pools
	podCPUSpan = span[int]{10, 100}
)

func (e *Environment) fillScale(given func(string) bool) {
	if e.Scale == nil {
		return
	}
	or(given, "scale.web.min", &e.Scale.Web.Min, 1)
	if given("scale.web.max") {
		or(given, "scale.web.cpu", &e.Scale.Web.CPU, defaultPodCPU)
	}
}

// Pods is how many pods serve a pool's requests at a moment.
type Pods struct {
	Min, Max, CPU int    // as in WebPods
	Floor         string // that holds; empty: none
}

// PodsAt is how many there are at a moment; of floors that hold together the highest counts.
func (e Environment) PodsAt(at time.Time) (Pods, error) {
	if e.Scale == nil {
		return Pods{Min: 1}, nil
	}
	p := Pods{Min: max(e.Scale.Web.Min, 1), Max: e.Scale.Web.Max, CPU: e.Scale.Web.CPU}
	times, err := e.Scale.times()
	if err != nil {
		return p, err
	}
	now, err := times.Agenda(at, at.Add(1), nil)
	if err != nil {
		return p, err
	}
	for _, o := range now {
		for _, f := range e.Scale.Floors {
			if f.Name == o.Calendar && f.Web > p.Min {
				p.Min, p.Floor = f.Web, f.Name
			}
		}
	}
	return p, nil
}

// Most is how many pods of a pool may serve requests at once.
func (s *Scale) Most() int {
	if s == nil {
		return 1
	}
	return max(s.Web.Min, s.Web.Max, 1)
}

// times are the floors, each a calendar of its own.
func (s *Scale) times() (*calendar.Set, error) {
	var specs []calendar.Spec
	for _, f := range s.Floors {
		// Where a change of the clocks leaves two readings, a freeze is the longer one: in doubt, there are more pods.
		specs = append(specs, calendar.Spec{Name: f.Name, Timezone: f.Timezone, Freezes: []calendar.Entry{
			{Name: f.Name, Rule: f.RRule, Starting: f.Starting, From: f.From, To: f.To, Duration: f.Duration}}})
	}
	return calendar.Compile(specs...)
}

func (d *document) scale(e *Environment) {
	s := e.Scale
	if s == nil {
		return
	}
	within(d, "scale.web.min", s.Web.Min, podsSpan, "")
	within(d, "scale.web.max", s.Web.Max, podsSpan, "leave it out for no autoscaler")
	within(d, "scale.web.cpu", s.Web.CPU, podCPUSpan, "percent of resources.cpus")
	for _, field := range []string{"scale", "scale.web", "scale.web.min", "scale.web.max", "scale.floors", "resources", "resources.cpus"} {
		if d.unread(field) {
			return
		}
	}
	most := d.given("scale.web.max")
	switch {
	case most && s.Web.Max < s.Web.Min:
		d.problem("scale.web.max", fmt.Sprintf("%d is less than min, which is %d", s.Web.Max, s.Web.Min), "")
	case most && (e.Resources == nil || e.Resources.CPUs == 0):
		d.problem("scale.web.max", "is given without resources.cpus: nobody can say how busy a pod is that may use any number", "for example resources: {cpus: 2}")
	case d.given("scale.web.cpu") && !most:
		d.problem("scale.web.cpu", "is given without max; nothing adds a pod then", "add max, or remove the line")
	}
	if len(s.Floors) > 0 && !most {
		d.problem("scale.floors", "is given without scale.web.max; floors raise what an autoscaler keeps at least", "add max, or give more pods always with min")
	}
	if len(s.Floors) > maxList {
		d.problem("scale.floors", fmt.Sprintf("has %d entries; at most %d are possible", len(s.Floors), maxList), "")
		return
	}
	d.podFloors(s, most)
}

func (d *document) podFloors(s *Scale, most bool) {
	names := map[string]bool{}
	for i, f := range s.Floors {
		at := fmt.Sprintf("scale.floors[%d]", i)
		if d.unread(at) {
			continue
		}
		d.need(at+".name", "what people call it")
		switch {
		case d.unread(at+".name") || !d.given(at+".name"):
		case strings.TrimSpace(f.Name) == "" || len(f.Name) > maxText || strings.ContainsAny(f.Name, "\r\n"):
			d.problem(at+".name", fmt.Sprintf("is empty, or longer than one line or %d characters", maxText), "")
		case names[f.Name]:
			d.problem(at+".name", shorten(f.Name)+" names another one already", "")
		}
		names[f.Name] = true
		d.need(at+".timezone", "the IANA name of a time zone, like Europe/Berlin,")
		d.need(at+".web", "how many pods there are at least")
		within(d, at+".web", f.Web, podsSpan, "")
		switch {
		case d.unread(at+".web") || !d.given(at+".web"):
		case most && f.Web > s.Web.Max:
			d.problem(at+".web", fmt.Sprintf("%d is more than scale.web.max, which is %d", f.Web, s.Web.Max), "")
		case f.Web >= podsSpan.least && f.Web <= s.Web.Min:
			d.problem(at+".web", fmt.Sprintf("%d is no more than scale.web.min, which is %d and holds always", f.Web, s.Web.Min), "")
		}
	}
	_, err := s.times()
	for _, p := range calendarProblems(err) {
		at := fmt.Sprintf("scale.floors[%d]", p.Calendar)
		if d.floorUnread(at) || p.Field == "timezone" && !d.given(at+".timezone") {
			continue
		}
		d.problem(at+strings.TrimPrefix("."+p.Field, ".freezes[0]"), p.Message, p.Hint)
	}
}

// floorUnread says whether something of a floor could not be read: what is said of the rest would only confuse.
func (d *document) floorUnread(at string) bool {
	for lost := range d.lost {
		if lost == at || strings.HasPrefix(lost, at+".") {
			return true
		}
	}
	return false
}
