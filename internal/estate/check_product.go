package estate

import (
	"fmt"
	"path"
	"slices"
	"strings"

	imagename "github.com/google/go-containerregistry/pkg/name"
)

// need reports a field that was left out; it stays silent where the field was given but unreadable.
func (d *document) need(field, what string) {
	if !d.given(field) {
		d.problem(field, "is missing; "+what+" expected", "")
	}
}

// name checks what becomes part of container, role and folder names.
func (d *document) name(field, value string) {
	switch {
	case value == "":
		if d.given(field) && !d.unread(field) {
			d.problem(field, "is empty; a name expected", "")
		}
		d.need(field, "a name")
	case len(value) > maxName:
		d.problem(field, fmt.Sprintf("%s has %d characters; at most %d are possible", shorten(value), len(value), maxName), "it becomes part of container and role names")
	case !nameRule.MatchString(value):
		d.problem(field, shorten(value)+" is not a name; small letters, digits and hyphens expected, a letter first", nameHint(value))
	}
}

// nameHint proposes the nearest name there is.
func nameHint(value string) string {
	if s := slug(value); s != "" && s != value {
		return `for example "` + s + `"`
	}
	return ""
}

// slug turns any words into a name; empty where nothing is left.
func slug(words string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(words) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9' && b.Len() > 0:
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
		if b.Len() == maxName {
			break
		}
	}
	return strings.Trim(b.String(), "-")
}

// once reports entries of a list that come twice, and lists that are too long.
func (d *document) once(field string, list []string) {
	if len(list) > maxList {
		d.problem(field, fmt.Sprintf("has %d entries; at most %d are possible", len(list), maxList), "")
		return
	}
	for i, entry := range list {
		if first := slices.Index(list, entry); first < i && entry != "" {
			d.problem(fmt.Sprintf("%s[%d]", field, i), fmt.Sprintf("%s is in the list already, at %s[%d]", shorten(entry), field, first), "remove one")
		}
	}
}

// product checks a Product by itself.
func (d *document) product(p *Product) {
	d.name("name", p.Name)
	d.need("series", `a series of Odoo, like "19.0",`)
	if p.Series != "" && !seriesRule.MatchString(p.Series) {
		d.problem("series", shorten(p.Series)+` is not a series of Odoo; "19.0" or the like expected`, "")
	}
	if d.given("base") && !d.unread("base") {
		d.base(p.Base)
	}
	if len(p.Addons) == 0 && !d.unread("addons") {
		d.problem("addons", "is empty; at least one folder expected", "remove the line for the default, addons")
	}
	d.once("addons", p.Addons)
	for i, folder := range p.Addons {
		field := fmt.Sprintf("addons[%d]", i)
		if d.unread(field) {
			continue
		}
		switch {
		case folder == "", path.IsAbs(folder), path.Clean(folder) != folder, folder == "..", strings.HasPrefix(folder, "../"), strings.ContainsAny(folder, "\\\x00"):
			d.problem(field, shorten(folder)+` is not a folder of the source repository; a relative path like "addons" expected`, "")
		}
	}
	d.need("environments", "the names of the environments, in the order in which a release passes them,")
	if d.given("environments") && len(p.Environments) == 0 && !d.unread("environments") {
		d.problem("environments", "is empty; at least one environment expected", "for example [test, production]")
	}
	d.once("environments", p.Environments)
	for i, name := range p.Environments {
		d.name(fmt.Sprintf("environments[%d]", i), name)
	}
}

// base checks how the base image is named; whether it exists is a matter of the build.
func (d *document) base(base string) {
	scheme, rest, _ := strings.Cut(base, ":")
	switch {
	case scheme == "oci" || scheme == "rootfs":
		if strings.TrimSpace(rest) == "" {
			d.problem("base", shorten(base)+" names no file", "oci:FOLDER or rootfs:FILE")
		}
	default:
		if _, err := imagename.ParseReference(base, imagename.WithDefaultRegistry("")); err != nil || base == "" {
			d.problem("base", shorten(base)+" is no image reference", `"odoo:19.0", "oci:FOLDER" or "rootfs:FILE"`)
		}
	}
}

// classification checks a Classification by itself.
func (d *document) classification(c *Classification) {
	d.need("release", "the name, commit or digest of a release")
	if d.given("release") && !d.unread("release") && (strings.TrimSpace(c.Release) == "" || len(c.Release) > maxText) {
		d.problem("release", "is no name, commit or digest of a release", "")
	}
	d.need("class", "one of "+strings.Join(classes, ", ")+",")
	d.class(c.Class)
	d.need("reason", "who found that out, and how,")
	switch {
	case d.given("reason") && !d.unread("reason") && strings.TrimSpace(c.Reason) == "":
		d.problem("reason", "is empty; say who found that out, and how", "a class without evidence is a guess that others rely on")
	case len(c.Reason) > maxText:
		d.problem("reason", fmt.Sprintf("is longer than %d characters", maxText), "")
	}
}

// class checks a class where one is given.
func (d *document) class(c Class) {
	if c == "" {
		if d.given("class") && !d.unread("class") {
			d.problem("class", "is empty; one of "+strings.Join(classes, ", ")+" expected", "")
		}
		return
	}
	d.oneOf("class", string(c), classes)
}

// oneOf checks a word against the words there are.
func (d *document) oneOf(field, value string, known []string) {
	if !slices.Contains(known, value) {
		d.problem(field, shorten(value)+" is unknown; one of "+strings.Join(known, ", ")+" expected", onlyNear(value, known))
	}
}

func onlyNear(value string, known []string) string {
	if best, ok := nearest(value, known); ok {
		return `did you mean "` + best + `"?`
	}
	return ""
}
