package estate

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
)

// tenant checks a Tenant by itself.
func (d *document) tenant(t *Tenant) {
	t.file, t.line = d.file, d.at.line
	d.name("name", t.Name)
	d.need("environment", "the name of an environment")
	if t.Environment == "" && d.given("environment") && !d.unread("environment") {
		d.problem("environment", "is empty; the name of an environment expected", "")
	}
	d.databaseName(t)
	d.need("hosts", "the host names that lead to this tenant")
	if d.given("hosts") && len(t.Hosts) == 0 && !d.unread("hosts") {
		d.problem("hosts", "is empty; at least one host name expected", "")
	}
	d.once("hosts", t.Hosts)
	for i, host := range t.Hosts[:min(len(t.Hosts), maxList)] {
		d.host(fmt.Sprintf("hosts[%d]", i), host)
	}
	if d.given("hosting") && !d.unread("hosting") {
		d.oneOf("hosting", string(t.Hosting), hostings)
	}
	if d.given("ring") && !d.unread("ring") {
		d.name("ring", t.Ring)
	}
	d.labels("labels", t.Labels)
	d.limits(t.Limits)
	d.contents(t.Modules, t.Languages)
}

// contents checks the names of modules and languages.
func (d *document) contents(modules, languages []string) {
	d.once("modules", modules)
	for i, module := range modules[:min(len(modules), maxList)] {
		if field := fmt.Sprintf("modules[%d]", i); !moduleRule.MatchString(module) && !d.unread(field) {
			d.problem(field, shorten(module)+" is no technical name of a module; letters, digits and underscores expected", "for example sale_stock")
		}
	}
	d.once("languages", languages)
	for i, language := range languages[:min(len(languages), maxList)] {
		if field := fmt.Sprintf("languages[%d]", i); !languageRule.MatchString(language) && !d.unread(field) {
			d.problem(field, shorten(language)+" is no language code of Odoo; de_DE, fr or sr@latin expected", languageHint(language))
		}
	}
}

// labels checks names and values of labels.
func (d *document) labels(field string, labels map[string]string) {
	if len(labels) > maxLabels {
		d.problem(field, fmt.Sprintf("has %d entries; at most %d are possible", len(labels), maxLabels), "")
		return
	}
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if !nameRule.MatchString(key) || len(key) > maxName {
			d.problem(field+"."+key, shorten(key)+" is no name of a label; small letters, digits and hyphens expected", "for example country")
		}
		if value := labels[key]; !labelValueRule.MatchString(value) {
			d.problem(field+"."+key, shorten(value)+" is no value of a label; letters, digits, dots, underscores and hyphens expected", "for example de")
		}
	}
}

// databaseName checks the name of the tenant's database, given or by default.
func (d *document) databaseName(t *Tenant) {
	name := t.Database
	if d.unread("database") || name == "" && !d.given("database") {
		return // without a name or an environment there is no default, and that is reported
	}
	switch {
	case !d.given("database"):
		if len(name) > maxDatabase {
			d.problem("database", fmt.Sprintf("the default %s has %d characters; at most %d are possible", name, len(name), maxDatabase), "add database: with a shorter name")
		}
	case len(name) > maxDatabase:
		d.problem("database", fmt.Sprintf("%s has %d characters; at most %d are possible", shorten(name), len(name), maxDatabase), "Waybill appends to it where it makes a copy")
	case !databaseRule.MatchString(name):
		d.problem("database", shorten(name)+" is no name of an Odoo database; letters, digits, underscores, dots and hyphens expected", "")
	case slices.Contains([]string{"postgres", "template0", "template1"}, name):
		d.problem("database", shorten(name)+" belongs to PostgreSQL itself", "choose another name")
	}
}

// host checks a host name without port.
func (d *document) host(field, host string) {
	if d.unread(field) {
		return
	}
	lower := strings.ToLower(strings.TrimSuffix(host, "."))
	bare, _, err := net.SplitHostPort(host)
	switch {
	case strings.Contains(host, "://"):
		_, rest, _ := strings.Cut(host, "://")
		rest, _, _ = strings.Cut(rest, "/")
		d.problem(field, shorten(host)+" is a URL; a host name alone expected", "for example "+shortenBare(rest))
	case net.ParseIP(host) != nil:
	case err == nil:
		d.problem(field, shorten(host)+" has a port; a host name alone expected", "write "+shortenBare(bare)+"; the port is the environment's")
	case strings.HasPrefix(host, "*."):
		d.problem(field, shorten(host)+" is a wildcard; each host name is written out, so that none leads to the wrong tenant", "")
	case !isHost(lower):
		d.problem(field, shorten(host)+" is no host name", "for example erp.example.com")
	case lower != host:
		d.problem(field, shorten(host)+" is not in its usual form; small letters and no dot at the end expected", "write "+lower)
	}
}

// isHost says whether a name may be a host's (RFC 1123).
func isHost(name string) bool {
	if name == "" || len(name) > maxHost {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if !labelRule.MatchString(label) {
			return false
		}
	}
	return true
}

func languageHint(language string) string {
	if fixed := strings.ReplaceAll(language, "-", "_"); languageRule.MatchString(fixed) {
		return "write " + fixed
	}
	return ""
}
