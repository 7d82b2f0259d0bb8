package estate

import (
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// attestations are what a Trust may require.
var attestations = []string{"provenance", "checks", "sbom", "vulnerabilities"}

func (t *Trust) fill(given func(string) bool) {
	or(given, "require", &t.Require, []string{"provenance"})
	or(given, "own_key", &t.OwnKey, len(t.Keys) == 0)
}

// trust checks a Trust by itself.
func (d *document) trust(t *Trust) {
	t.file, t.places = d.file, d.where
	d.once("environments", t.Environments)
	d.once("builders", t.Builders)
	d.once("sources", t.Sources)
	d.once("require", t.Require)
	if len(t.Keys) > maxList {
		d.problem("keys", fmt.Sprintf("has %d entries; at most %d are possible", len(t.Keys), maxList), "")
		return
	}
	if len(t.Keys) == 0 && !t.OwnKey && !d.unread("keys") && !d.unread("own_key") {
		d.problem("own_key", "is false, and there are no keys: nothing could ever enter", "name keys, or remove the line")
	}
	names := map[string]bool{}
	for i := range t.Keys {
		at := fmt.Sprintf("keys[%d]", i)
		if d.unread(at) {
			continue
		}
		d.trustKey(at, &t.Keys[i])
		if name := t.Keys[i].Name; name != "" && names[name] {
			d.problem(at+".name", shorten(name)+" names another key already", "")
		}
		names[t.Keys[i].Name] = true
	}
	for i, builder := range t.Builders[:min(len(t.Builders), maxList)] {
		field := fmt.Sprintf("builders[%d]", i)
		if u, err := url.Parse(builder); !d.unread(field) && (err != nil || u.Scheme == "" || len(builder) > maxText) {
			d.problem(field, shorten(builder)+" is no URI", "for example urn:waybill:builder:cli or https://ci.example.com/release")
		}
	}
	for i, source := range t.Sources[:min(len(t.Sources), maxList)] {
		field := fmt.Sprintf("sources[%d]", i)
		if _, err := path.Match(source, ""); !d.unread(field) && (err != nil || source == "" || len(source) > maxText) {
			d.problem(field, shorten(source)+" is no pattern", "for example https://git.example.com/acme/*")
		}
	}
	for i, word := range t.Require[:min(len(t.Require), maxList)] {
		if field := fmt.Sprintf("require[%d]", i); !d.unread(field) {
			d.oneOf(field, word, attestations)
		}
	}
	if d.given("require") && !d.unread("require") && !slices.Contains(t.Require, "provenance") {
		d.problem("require", "lacks provenance, which says where a release comes from", "add provenance")
	}
}

func (d *document) trustKey(at string, k *TrustKey) {
	d.need(at+".name", "what people call the key")
	if d.given(at+".name") && !d.unread(at+".name") && (strings.TrimSpace(k.Name) == "" || len(k.Name) > maxText) {
		d.problem(at+".name", "is empty or too long; what people call the key expected", "")
	}
	inline, file := d.given(at+".public_key"), d.given(at+".file")
	switch {
	case inline && file:
		d.problem(at+".file", "is given beside public_key; one of the two expected", "")
	case !inline && !file:
		d.problem(at, "has no key; public_key or file expected", "waybill key show prints the public key")
	case inline && !d.unread(at+".public_key"):
		if _, err := parsePublicKey(k.PublicKey); err != nil {
			d.problem(at+".public_key", "does not hold a key: "+err.Error(), "waybill key show prints the public key")
		}
	case file && !d.unread(at+".file") && (k.File == "" || !filepath.IsLocal(k.File)):
		d.problem(at+".file", shorten(k.File)+" is no path inside the estate's folder", "for example keys/ci.pub")
	}
	for _, day := range []struct{ field, value string }{{at + ".not_before", k.NotBefore}, {at + ".not_after", k.NotAfter}} {
		if !d.given(day.field) || d.unread(day.field) {
			continue
		}
		if _, err := time.Parse(dateForm, day.value); err != nil {
			d.problem(day.field, shorten(day.value)+" is no date; one like 2027-03-31 expected", "")
		}
	}
	if from, until := k.Window(); !from.IsZero() && !until.IsZero() && !from.Before(until) {
		d.problem(at+".not_after", "is before not_before; the key would never count", "")
	}
}

// trusts compares the documents of kind Trust with each other and with the environments.
func (all *declarations) trusts() {
	var environments []string
	for _, e := range all.environments {
		environments = append(environments, e.value.Name)
	}
	first := map[string]*document{}
	for _, t := range all.trust {
		if len(t.value.Environments) == 0 && !t.doc.unread("environments") {
			unique(first, "", t.doc, "", "is a second Trust without environments; at most one expected")
		}
		for i, name := range t.value.Environments {
			field := fmt.Sprintf("environments[%d]", i)
			if !slices.Contains(environments, name) && !t.doc.unread(field) && !all.unreadable() {
				t.doc.problem(field, "there is no Environment "+shorten(name), suggest(name, environments))
			}
			if slices.Index(t.value.Environments, name) == i && name != "" { // twice in one list is reported there
				unique(first, name, t.doc, field, "Environment "+shorten(name)+" has a Trust already")
			}
		}
	}
}

// readTrustKeys puts the keys that lie in files into their places.
func (e *Estate) readTrustKeys(dir string) error {
	var rep report
	var root *os.Root
	for i := range e.Trusts {
		t := &e.Trusts[i]
		for j := range t.Keys {
			key := &t.Keys[j]
			if key.File == "" {
				continue
			}
			if root == nil {
				var err error
				if root, err = os.OpenRoot(dir); err != nil {
					return fmt.Errorf("estate: open folder %s: %w", dir, err)
				}
				defer func() { _ = root.Close() }()
			}
			field := fmt.Sprintf("keys[%d].file", j)
			complain := func(message string) {
				at := t.places[field]
				rep.add(&Problem{File: t.file, Line: at.line, Column: at.column, Field: field, Message: message, Hint: "waybill key show prints the public key"})
			}
			content, problem := readFile(root, key.File)
			if problem != nil || content == nil {
				message := "is no file"
				if problem != nil {
					message = problem.Message
				}
				complain(shorten(key.File) + " " + message)
				continue
			}
			if _, err := parsePublicKey(string(content)); err != nil {
				complain(shorten(key.File) + " does not hold a key: " + err.Error())
				continue
			}
			key.PublicKey = string(content)
		}
	}
	return rep.err()
}
