package estate

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/secret"
)

// environment checks an Environment by itself.
func (d *document) environment(e *Environment) {
	e.file = d.file
	d.name("name", e.Name)
	d.docker(e.Runtime.Docker)
	d.database(e.Database)
	d.redis(e.Redis)
	within(d, "workers", e.Workers, workersSpan, "0 means one threaded process")
	for _, f := range []struct {
		field string
		value time.Duration
	}{
		{"hold_budget", e.HoldBudget}, {"update_deadline", e.Deadline}, {"drain_limit", e.DrainLimit},
		{"rollout.step_deadline", e.Rollout.StepDeadline}, {"rollout.bake", e.Rollout.Bake},
	} {
		within(d, f.field, f.value, durationSpans[f.field], "")
	}
	d.settingNames(e.Settings)
	if d.given("class") {
		d.class(e.Class)
	}
	if d.given("rehearsal") && !d.unread("rehearsal") {
		d.oneOf("rehearsal", string(e.Rehearsal), rehearsals)
	}
	d.rollout(e.Rollout)
	d.approvals(e.Approvals)
	d.emergency(e.Emergency)
	d.rings(e.Rings)
	d.isolation(e.Isolation)
	d.limits(e.Limits)
	d.drift(e.Drift)
	d.resources(e.Resources)
	d.scale(e)
}

// within checks a figure that was given; a default needs no check.
func within[T cmp.Ordered](d *document, field string, value T, s span[T], hint string) {
	if d.given(field) && (value < s.least || value > s.most) && !d.unread(field) {
		d.problem(field, fmt.Sprintf("%v is out of range; %v to %v expected", show(value), show(s.least), show(s.most)), hint)
	}
}

// show prints durations without the zeros that time.Duration adds: 20m, not 20m0s.
func show(value any) string {
	length, ok := value.(time.Duration)
	if !ok {
		return fmt.Sprint(value)
	}
	if length == 0 {
		return "0s"
	}
	s := length.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// docker checks addresses and certificate.
func (d *document) docker(k *Docker) {
	if k == nil {
		if !d.unread("runtime") && !d.unread("runtime.docker") {
			d.problem("runtime.docker", "is missing; Docker is the runtime that there is for now",
				`for example runtime: {docker: {http: "127.0.0.1:8069"}}`)
		}
		return
	}
	d.need("runtime.docker.http", "an address to listen on, like 127.0.0.1:8069,")
	if d.given("runtime.docker.http") && !d.unread("runtime.docker.http") {
		d.address("runtime.docker.http", k.HTTP)
	}
	secure := d.given("runtime.docker.https")
	if secure && !d.unread("runtime.docker.https") {
		d.address("runtime.docker.https", k.HTTPS)
		if sameListener(k.HTTP, k.HTTPS) {
			d.problem("runtime.docker.https", k.HTTPS+" is the address of http already", "two ports are needed")
		}
	}
	for _, file := range []struct{ field, value, other string }{
		{"runtime.docker.certificate", k.Certificate, "runtime.docker.key"}, {"runtime.docker.key", k.Key, "runtime.docker.certificate"},
	} {
		switch {
		case !d.given(file.field) && (secure || d.given(file.other)):
			d.problem(file.field, "is missing; https needs a certificate and its key, both as PEM files", "")
		case d.given(file.field) && !secure:
			d.problem(file.field, "is given without https", "add https: HOST:PORT, or remove the line")
		case d.given(file.field) && !d.unread(file.field) && (strings.TrimSpace(file.value) == "" || strings.Contains(file.value, "-----BEGIN")):
			d.problem(file.field, "is no file name; the path of a PEM file expected", "a key never stands in the estate itself")
		}
	}
}

// address checks host:port to listen on.
func (d *document) address(field, value string) {
	host, port, err := net.SplitHostPort(value)
	if err != nil {
		d.problem(field, shorten(value)+" is no address; host:port expected", "for example 127.0.0.1:8069")
		return
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		d.problem(field, fmt.Sprintf("%s is no port; 1 to 65535 expected", shorten(port)), "")
	}
	if host != "" && host != "localhost" && net.ParseIP(host) == nil {
		d.problem(field, shorten(host)+" is no address of this machine; an IP address, localhost or nothing (all addresses) expected", "for example 127.0.0.1:8069")
	}
}

// sameListener says whether two addresses cannot be listened on together.
func sameListener(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB {
		return false
	}
	return canonical(hostA) == canonical(hostB) || canonical(hostA) == "*" || canonical(hostB) == "*"
}

// canonical writes an address in one way; "*" is all of them.
func canonical(host string) string {
	if host == "localhost" {
		host = "127.0.0.1"
	}
	ip := net.ParseIP(host)
	if host == "" || ip != nil && ip.IsUnspecified() {
		return "*"
	}
	if ip != nil {
		return ip.String()
	}
	return host
}

// database checks how the server is named. The URL is never repeated: it may hold a password by mistake.
func (d *document) database(db Database) {
	if d.given("database.url") && !d.unread("database.url") {
		u, err := url.Parse(db.URL)
		switch {
		case err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || u.Opaque != "":
			d.problem("database.url", "is no URL of a PostgreSQL server", "postgresql://USER@HOST:5432/postgres?sslmode=verify-full")
		case hasPassword(u):
			d.problem("database.url", "holds a password; a secret never stands in an estate", "name it in database.password as env:NAME, file:PATH or kubernetes:NAMESPACE/NAME/KEY")
		case u.User.Username() == "":
			d.problem("database.url", "names no user", "postgresql://USER@HOST:5432/postgres")
		case u.Hostname() == "" && u.Query().Get("host") == "":
			d.problem("database.url", "names no host", "postgresql://USER@HOST:5432/postgres")
		}
	}
	if !d.given("database.password") || d.unread("database.password") {
		return
	}
	switch {
	case !secret.Is(db.Password):
		d.problem("database.password", "is no reference; a secret never stands in an estate", secret.Forms)
	case !d.given("database.url"):
		d.problem("database.password", "is given without database.url", "the server that Waybill runs needs none; remove the line")
	}
}

// redis checks how the server is named. The URL is never repeated, likewise.
func (d *document) redis(r Redis) {
	if d.given("redis.url") && !d.unread("redis.url") {
		u, err := url.Parse(r.URL)
		switch {
		case err != nil || !slices.Contains([]string{"redis", "rediss", "unix"}, u.Scheme) || u.Opaque != "" || u.Scheme == "unix" && u.Path == "" || u.Scheme != "unix" && u.Hostname() == "":
			d.problem("redis.url", "is no URL of a Redis server", "redis://HOST:6379, rediss://HOST:6379 or unix:///PATH")
		case hasPassword(u):
			d.problem("redis.url", "holds a password; a secret never stands in an estate", "name it in redis.password as env:NAME, file:PATH or kubernetes:NAMESPACE/NAME/KEY")
		}
	}
	d.sessions(r)
	if !d.given("redis.password") || d.unread("redis.password") {
		return
	}
	switch {
	case !secret.Is(r.Password):
		d.problem("redis.password", "is no reference; a secret never stands in an estate", secret.Forms)
	case !d.given("redis.url"):
		d.problem("redis.password", "is given without redis.url", "")
	}
}

// sessions are kept by the pools' processes, which are elsewhere than this server.
func (d *document) sessions(r Redis) {
	if !r.Sessions {
		return
	}
	u, err := url.Parse(r.URL)
	switch {
	case !d.given("redis.url"):
		d.problem("redis.sessions", "is given without redis.url", "name the server that keeps them")
	case d.unread("redis.url") || err != nil:
	case u.Scheme == "unix" || canonical(u.Hostname()) == "*" || net.ParseIP(canonical(u.Hostname())).IsLoopback():
		d.problem("redis.url", "cannot be reached from where Odoo runs, which keeps its sessions there", "a host name or an address of the network: redis://cache.example:6379")
	}
}

func hasPassword(u *url.URL) bool {
	if _, set := u.User.Password(); set {
		return true
	}
	q := u.Query()
	return q.Has("password") || q.Has("sslpassword")
}

// settingNames checks further options of odoo.conf.
func (d *document) settingNames(settings map[string]string) {
	if len(settings) > maxList {
		d.problem("settings", fmt.Sprintf("has %d entries; at most %d are possible", len(settings), maxList), "")
	}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		field := join("settings", name)
		value := settings[name]
		if reason, no := reservedReason(name); no {
			d.problem(field, "is set by Waybill: "+reason, "remove the line")
			continue
		}
		switch {
		case sensitive(name):
			d.problem(field, "is a secret; a secret never stands in an estate", "settings take no secrets; set it in Odoo itself")
		case !settingRule.MatchString(name):
			d.problem(field, "is no option of odoo.conf; small letters, digits and underscores expected", "")
		case len(value) > maxSetting:
			d.problem(field, fmt.Sprintf("is longer than %d characters", maxSetting), "")
		case strings.ContainsAny(value, "\n\r\x00"):
			d.problem(field, "has more than one line; odoo.conf takes one", "")
		}
	}
}

// rollout checks how traffic moves.
func (d *document) rollout(r Rollout) {
	if len(r.Steps) > maxSteps {
		d.problem("rollout.steps", fmt.Sprintf("has %d steps; at most %d are possible", len(r.Steps), maxSteps), "")
	}
	for i, weight := range r.Steps {
		field := fmt.Sprintf("rollout.steps[%d]", i)
		if d.unread(field) {
			return
		}
		switch {
		case weight == 100:
			d.problem(field, "100 is not a step; the rollout ends there by itself", "remove it")
		case weight < stepSpan.least || weight > stepSpan.most:
			d.problem(field, fmt.Sprintf("%d is out of range; %d to %d percent expected", weight, stepSpan.least, stepSpan.most), "")
		case i > 0 && weight <= r.Steps[i-1]:
			d.problem(field, fmt.Sprintf("%d does not grow; more than %d expected", weight, r.Steps[i-1]), "steps only go up; the way back is one step")
		}
	}
	within(d, "rollout.requests", r.Requests, requestsSpan, "0 asks for no traffic: only readiness and flows count")
	within(d, "rollout.max_error_rate", r.MaxErrorRate, errorSpan, "0.01 or 1% is one request in a hundred")
	d.evidence(r)
}
