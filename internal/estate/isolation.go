package estate

import "time"

// Isolation says how often it is tried, from inside the environment's pools, to reach what belongs to other tenants. Whatever is
// reached is an incident.
type Isolation struct {
	Every time.Duration `yaml:"every" json:"every"` // how often; 0s: only when somebody asks; default 1h
}

// DefaultIsolation is how often it is tried where the estate does not say.
const DefaultIsolation = time.Hour

var isolationSpan = span[time.Duration]{0, 7 * 24 * time.Hour}

// IsolationEvery is how often it is tried to reach other tenants; 0: only when somebody asks.
func (e Environment) IsolationEvery() time.Duration {
	if e.Isolation == nil {
		return DefaultIsolation
	}
	return e.Isolation.Every
}

func (e *Environment) fillIsolation(given func(string) bool) {
	if e.Isolation != nil {
		or(given, "isolation.every", &e.Isolation.Every, DefaultIsolation)
	}
}

func (d *document) isolation(i *Isolation) {
	if i == nil {
		return
	}
	within(d, "isolation.every", i.Every, isolationSpan, "0s: only when somebody asks")
	if d.given("isolation.every") && i.Every > 0 && i.Every < time.Minute && !d.unread("isolation.every") {
		d.problem("isolation.every", show(i.Every)+" is too often; 1m at least", "0s: only when somebody asks")
	}
}
