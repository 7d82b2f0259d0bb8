package router

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// ErrUnknownTenant is returned for a tenant that the table in force does not name.
var ErrUnknownTenant = errors.New("the router's table names no such tenant")

// TableError says everything that is wrong with a refused table.
type TableError struct {
	Generation int64
	Problems   []string
}

func (e *TableError) Error() string {
	return fmt.Sprintf("routing table of generation %d is refused and the one before it stays in force: %s",
		e.Generation, strings.Join(e.Problems, "; "))
}

// StaleError refuses a table because a newer one, or another one of the same generation, is in force.
type StaleError struct {
	Generation int64 // of the refused table
	InForce    int64
}

func (e *StaleError) Error() string {
	if e.Generation == e.InForce {
		return fmt.Sprintf("routing table of generation %d is refused: another table of that generation is in force; send the next generation", e.Generation)
	}
	return fmt.Sprintf("routing table of generation %d is refused: generation %d is in force; read the state again before routing", e.Generation, e.InForce)
}

const (
	maxTenants   = 20_000
	maxHosts     = 1000 // of one tenant
	maxMessage   = 4096 // bytes
	maxTableSize = 16 << 20
)

// Validate returns a *TableError that lists everything wrong with the table, or nil.
func (t *Table) Validate() error {
	c := checker{hosts: map[string]string{}, names: map[string]bool{}}
	if t.Environment == "" {
		c.say("the environment has no name")
	}
	if t.Generation < 1 {
		c.say("generation %d: it must be 1 or more", t.Generation)
	}
	if len(t.Tenants) > maxTenants {
		c.say("%d tenants: at most %d fit in a router", len(t.Tenants), maxTenants)
	} else {
		for i := range t.Tenants {
			c.tenant(i, &t.Tenants[i])
		}
	}
	if len(c.problems) > 0 {
		return &TableError{Generation: t.Generation, Problems: c.problems}
	}
	return nil
}

type checker struct {
	hosts    map[string]string // host → tenant
	names    map[string]bool
	problems []string
}

func (c *checker) say(format string, args ...any) {
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}

func (c *checker) tenant(i int, t *Tenant) {
	name := t.Name
	if name == "" {
		name = fmt.Sprintf("number %d", i+1)
		c.say("tenant %s has no name", name)
	} else if c.names[name] {
		c.say("tenant %s stands twice in the table", name)
	}
	c.names[name] = true

	if len(t.Hosts) == 0 {
		c.say("tenant %s has no host", name)
	}
	if len(t.Hosts) > maxHosts {
		c.say("tenant %s has %d hosts: at most %d", name, len(t.Hosts), maxHosts)
		return
	}
	for _, host := range t.Hosts {
		key, ok := hostKey(host)
		if !ok || (strings.Contains(host, ":") && net.ParseIP(strings.Trim(host, "[]")) == nil) {
			c.say("tenant %s: %q is not a host name without port", name, host)
			continue
		}
		if other, taken := c.hosts[key]; taken {
			c.say("host %s belongs to tenant %s and to tenant %s", key, other, name)
		}
		c.hosts[key] = name
	}

	if len(t.Message) > maxMessage {
		c.say("tenant %s: a message of %d bytes is longer than %d", name, len(t.Message), maxMessage)
	}
	switch t.Mode {
	case Open, Freeze:
	case Hold:
		if t.HoldUntil.IsZero() {
			c.say("tenant %s is held without hold_until: requests would wait for ever", name)
		}
	default:
		c.say("tenant %s: mode %q is none of open, hold, freeze", name, t.Mode)
	}

	if t.Weight < 0 || t.Weight > 100 {
		c.say("tenant %s: weight %d is not between 0 and 100", name, t.Weight)
	}
	// A tenant that is not open yet may have no pool yet.
	if t.Mode == Open || t.Stable != (Upstream{}) {
		c.upstream(name, "stable", t.Stable)
	}
	switch {
	case t.Canary != nil:
		c.upstream(name, "canary", *t.Canary)
		if t.Canary.Pool != "" && t.Canary.Pool == t.Stable.Pool {
			c.say("tenant %s: stable and canary are both pool %s", name, t.Stable.Pool)
		}
	case t.Weight > 0:
		c.say("tenant %s: weight %d without a canary", name, t.Weight)
	}
}

func (c *checker) upstream(tenant, role string, u Upstream) {
	if u.Pool == "" {
		c.say("tenant %s: the %s upstream names no pool", tenant, role)
	}
	if err := address(u.Web); err != nil {
		c.say("tenant %s: web address of the %s upstream: %v", tenant, role, err)
	}
	if u.Websocket != "" { // a threaded Odoo serves /websocket on its web port
		if err := address(u.Websocket); err != nil {
			c.say("tenant %s: websocket address of the %s upstream: %v", tenant, role, err)
		}
	}
}

func address(s string) error {
	if s == "" {
		return errors.New("missing")
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Errorf("%q is not host:port", s)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 || host == "" || strings.ContainsAny(host, "/@ \t\r\n?#%") {
		return fmt.Errorf("%q is not host:port", s)
	}
	return nil
}

// hostKey is a host as it is looked up: without port, brackets and the root's dot, in lower case.
func hostKey(host string) (string, bool) {
	if strings.HasPrefix(host, "[") || strings.Count(host, ":") == 1 {
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
	}
	host = strings.Trim(host, "[]")
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "" || len(host) > 253 || strings.ContainsAny(host, "/\\@ \t\r\n?#\"'<>") {
		return "", false
	}
	return host, true
}
