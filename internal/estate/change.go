package estate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// Change is one tenant that an estate shall have, not have any more, or describe otherwise.
type Change struct {
	Environment, Tenant string

	Add    []byte            // the tenant's document; it gets a file of its own
	Remove bool              // the tenant's document, wherever it stands
	Set    map[string]string // fields of it, by their new value as YAML; empty: the field goes away
}

// Fields are those that it sets, as they are written: "hosting: shared".
func (c Change) Fields() string {
	var list []string
	for _, field := range slices.Sorted(maps.Keys(c.Set)) {
		list = append(list, field+": "+c.Set[field])
	}
	return strings.Join(list, ", ")
}

// Changed is what a change comes to.
type Changed struct {
	File    string // that changes
	Content []byte // of the file; nil: it goes away
	Taken   []byte // the document that a removal takes out
	Same    bool   // the estate says so already
	Estate  *Estate
}

// ErrDeclared is returned where the tenant stands in the estate already, ErrUndeclared where it does not.
var (
	ErrDeclared   = errors.New("the estate has this tenant already")
	ErrUndeclared = errors.New("the estate has no such tenant")
)

// Apply tells what a change makes of the estate in dir, which it leaves alone. What comes out was read as an estate, and differs
// from the one before in nothing but that tenant.
func Apply(ctx context.Context, dir string, c Change) (Changed, error) {
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return Changed{}, err
	}
	files, err := gather(ctx, absolute)
	if err != nil {
		return Changed{}, err
	}
	before, err := load(ctx, dir, absolute, files)
	if err != nil {
		return Changed{}, err
	}
	at := slices.IndexFunc(before.Tenants, c.about)
	var out Changed
	switch {
	case c.Add != nil && at >= 0 && bytes.Equal(files[before.Tenants[at].file], c.Add):
		return Changed{File: before.Tenants[at].file, Content: c.Add, Same: true, Estate: before}, nil
	case c.Add != nil && at >= 0:
		return out, fmt.Errorf("%w: %s/%s in %s", ErrDeclared, c.Environment, c.Tenant, before.Tenants[at].file)
	case c.Add != nil:
		out.File, out.Content = freeFile(files, c), c.Add
	case at < 0:
		return out, fmt.Errorf("%w: %s/%s", ErrUndeclared, c.Environment, c.Tenant)
	default:
		t := before.Tenants[at]
		out.File = t.file
		if out.Content, out.Taken, err = edit(files[t.file], t.line, c); err != nil {
			return out, fmt.Errorf("%s:%d: Tenant %s: %w", t.file, t.line, c.Tenant, err)
		}
	}
	out.Same = out.Content != nil && bytes.Equal(files[out.File], out.Content)
	if out.Content == nil {
		delete(files, out.File)
	} else {
		files[out.File] = out.Content
	}
	if out.Estate, err = load(ctx, dir, absolute, files); err != nil {
		return out, err
	}
	return out, c.nothingElse(before, out.Estate)
}

func (c Change) about(t Tenant) bool { return t.Environment == c.Environment && t.Name == c.Tenant }

// nothingElse holds two estates against each other: text was edited, and what counts is what it says.
func (c Change) nothingElse(before, after *Estate) error {
	was, is := *before, *after
	for _, e := range []*Estate{&was, &is} {
		e.Root, e.Commit, e.Dirty = "", "", false
		e.Tenants = slices.DeleteFunc(slices.Clone(e.Tenants), c.about)
		for i := range e.Tenants {
			e.Tenants[i].line = 0 // what stands below it has moved
		}
	}
	there := slices.ContainsFunc(after.Tenants, c.about)
	if there == c.Remove || !reflect.DeepEqual(was.Tenants, is.Tenants) || !reflect.DeepEqual(was.Environments, is.Environments) || !reflect.DeepEqual(was.Templates, is.Templates) {
		return errors.New("the estate's text cannot be changed for this tenant alone; change it by hand, in a document of its own")
	}
	return nil
}

// freeFile is where a new tenant's document goes: tenants/NAME.yaml, unless that is taken.
func freeFile(files map[string][]byte, c Change) string {
	file := "tenants/" + c.Tenant + ".yaml"
	if _, taken := files[file]; taken {
		file = "tenants/" + c.Environment + "-" + c.Tenant + ".yaml"
	}
	for i := 2; ; i++ {
		if _, taken := files[file]; !taken {
			return file
		}
		file = fmt.Sprintf("tenants/%s-%s-%d.yaml", c.Environment, c.Tenant, i)
	}
}

// edit changes or takes out the document around a line. A file with nothing left in it goes away.
func edit(content []byte, line int, c Change) (rest, taken []byte, err error) {
	lines := strings.SplitAfter(string(content), "\n")
	separator := func(i int) bool { return strings.TrimRight(lines[i], " \t\r\n") == "---" }
	first, last := min(line, len(lines))-1, min(line, len(lines))-1
	for first > 0 && !separator(first-1) {
		first--
	}
	for last+1 < len(lines) && !separator(last+1) {
		last++
	}
	document := slices.Clone(lines[first : last+1])
	if c.Remove {
		from, to := first, last+1
		switch {
		case to < len(lines):
			to++ // the separator after it
		case from > 0:
			from-- // or the one before
		}
		left := strings.Join(slices.Concat(lines[:from], lines[to:]), "")
		if !strings.Contains(left, "kind:") {
			return nil, []byte(strings.Join(document, "")), nil
		}
		return []byte(left), []byte(strings.Join(document, "")), nil
	}
	for field, value := range c.Set {
		if document, err = setField(document, field, value); err != nil {
			return nil, nil, err
		}
	}
	return []byte(strings.Join(slices.Concat(lines[:first], document, lines[last+1:]), "")), nil, nil
}

var topField = regexp.MustCompile(`^([a-z_]+):`)

// setField replaces a field of a document, with the lines that belong to it.
func setField(document []string, field, value string) ([]string, error) {
	if !slices.ContainsFunc(document, func(l string) bool { return strings.HasPrefix(l, "kind:") }) {
		return nil, errors.New("it is not written a field a line; change it by hand")
	}
	at := slices.IndexFunc(document, func(l string) bool { m := topField.FindStringSubmatch(l); return m != nil && m[1] == field })
	var fresh []string
	if value != "" {
		fresh = []string{field + ": " + value + "\n"}
	}
	if at < 0 {
		end := len(document)
		for end > 0 && strings.TrimSpace(document[end-1]) == "" {
			end--
		}
		if end > 0 && !strings.HasSuffix(document[end-1], "\n") {
			document[end-1] += "\n"
		}
		return slices.Insert(document, end, fresh...), nil
	}
	end := at + 1
	for end < len(document) && strings.TrimSpace(document[end]) != "" && strings.ContainsAny(document[end][:1], " \t-") {
		end++
	}
	return slices.Replace(document, at, end, fresh...), nil
}
