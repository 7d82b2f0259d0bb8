package check

import (
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/waybill-dev/waybill/internal/estate"
)

// Policy says what findings mean for one product. The zero value leaves every check its own severity.
type Policy struct {
	Levels     map[string]Severity // by ID of a check
	Exceptions []Exception
}

// Exception lets findings of one check pass until a moment.
type Exception struct {
	Check   string
	Module  string    // name or pattern; empty: any
	File    string    // path or pattern, ** for any folders; empty: any
	Reason  string    // never empty
	Expires time.Time // from this moment on it lets nothing pass
	Place   string    // where it is declared, for messages
}

// PolicyOf reads the policy from an estate. Checks that do not exist are refused: the error joins
// an estate.Problem with place and the nearest name for each.
func PolicyOf(declared estate.Checks) (Policy, error) {
	var ids []string
	for _, c := range Checks() {
		ids = append(ids, c.ID)
	}
	if err := declared.Unknown(ids); err != nil {
		return Policy{}, err
	}
	p := Policy{Levels: map[string]Severity{}}
	for id, level := range declared.Levels {
		p.Levels[id] = Severity(level)
	}
	for i, x := range declared.Exceptions {
		p.Exceptions = append(p.Exceptions, Exception{
			Check: x.Check, Module: x.Module, File: x.File, Reason: x.Reason, Expires: x.Until(), Place: declared.Place(i),
		})
	}
	return p, nil
}

func (p Policy) level(c Check) Severity {
	if level, ok := p.Levels[c.ID]; ok {
		return level
	}
	return c.Severity
}

// covers says whether the exception is about a finding, expired or not.
func (x Exception) covers(f Finding) bool {
	return x.Check == f.Check && matches(x.Module, f.Module) && matches(x.File, f.File)
}

func matches(pattern, name string) bool {
	if pattern == "" {
		return true
	}
	ok, err := doublestar.Match(pattern, name)
	return err == nil && ok
}
