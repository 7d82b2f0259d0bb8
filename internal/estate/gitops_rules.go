package estate

import (
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/forge"
	"github.com/waybill-dev/waybill/internal/secret"
)

var (
	digestRule  = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	branchRule  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$`)
	projectRule = regexp.MustCompile(`^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)+$`)
	proposes    = []string{string(ProposeCommit), string(ProposeBranch)}
	pollSpan    = span[time.Duration]{0, 24 * time.Hour}
)

func (r *Repository) fill(given func(string) bool) {
	or(given, "branch", &r.Branch, "main")
	or(given, "poll", &r.Poll, time.Minute)
	or(given, "propose", &r.Propose, ProposeCommit)
	if len(r.Signers) > 0 {
		or(given, "signed", &r.Signed, SignedEverything)
	}
}

// repository checks a Repository by itself.
func (d *document) repository(r *Repository) {
	switch u, err := url.Parse(r.Remote); {
	case d.unread("remote"):
	case r.Remote == "":
		d.problem("remote", "is missing", "for example https://git.example.com/acme/estate.git")
	case len(r.Remote) > maxText || strings.HasPrefix(r.Remote, "-") || strings.Contains(r.Remote, "::"):
		d.problem("remote", shorten(r.Remote)+" is no URL of a Git repository", "https://…, ssh://…, git@host:path or a folder")
	case err != nil || u.Scheme == "": // a folder, or host:path
	case u.Scheme != "https" && u.Scheme != "http" && u.Scheme != "ssh" && u.Scheme != "file":
		d.problem("remote", "a Git remote by "+shorten(u.Scheme)+":// is not supported", "https://…, ssh://…, git@host:path or a folder")
	default:
		if _, secret := u.User.Password(); secret {
			d.problem("remote", "holds a password", "name where it stands: password: env:NAME, file:PATH or kubernetes:NAMESPACE/NAME/KEY")
		}
	}
	if !d.unread("branch") && (!branchRule.MatchString(r.Branch) || strings.Contains(r.Branch, "..") || strings.HasSuffix(r.Branch, "/")) {
		d.problem("branch", shorten(r.Branch)+" is no name of a branch", "")
	}
	if r.Password != "" && !d.unread("password") && !secret.Is(r.Password) {
		d.problem("password", "is no reference to a secret", secret.Forms+"; the secret itself never stands here")
	}
	if r.Webhook != "" && !d.unread("webhook") && !secret.Is(r.Webhook) {
		d.problem("webhook", "is no reference to a secret", secret.Forms+"; the secret itself never stands here")
	}
	within(d, "poll", r.Poll, pollSpan, "0s: only when the server is told")
	if d.given("propose") && !d.unread("propose") {
		d.oneOf("propose", string(r.Propose), proposes)
	}
	d.forge(r)
	d.signatures(r)
}

// forge checks where pull requests are opened, and fills in what the remote says of it.
func (d *document) forge(r *Repository) {
	if !d.given("forge") || d.unread("forge") || d.unread("remote") {
		return
	}
	f := &r.Forge
	base, project, known := forge.Place(r.Remote)
	if !d.given("forge.url") {
		f.URL = base
	}
	if !d.given("forge.project") {
		f.Project = project
	}
	kinds := make([]string, len(forge.Kinds))
	for i, k := range forge.Kinds {
		kinds[i] = string(k)
	}
	if !d.given("forge.kind") {
		k, _ := forge.KindOf(f.URL)
		f.Kind = string(k)
	}
	switch u, err := url.Parse(f.URL); {
	case d.unread("forge.kind") || d.unread("forge.url") || d.unread("forge.project"):
	case f.URL == "":
		d.problem("forge.url", "is missing, and the remote names no host", "for example https://git.example.com")
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || u.Fragment != "":
		d.problem("forge.url", "is no address of a forge", "for example https://git.example.com")
	case u.User != nil:
		d.problem("forge.url", "holds a user", "name the token in forge.token as env:NAME, file:PATH or kubernetes:NAMESPACE/NAME/KEY")
	case f.Kind == "":
		d.problem("forge.kind", "is missing, and the host does not tell it", "one of "+strings.Join(kinds, ", "))
	case f.Project == "" || !projectRule.MatchString(f.Project):
		d.problem("forge.project", "is no owner/name of a repository"+map[bool]string{false: ", and the remote names none"}[known], "for example acme/estate")
	}
	f.URL = strings.TrimRight(f.URL, "/")
	if f.Kind != "" && !d.unread("forge.kind") {
		d.oneOf("forge.kind", f.Kind, kinds)
	}
	switch {
	case d.unread("forge.token"):
	case f.Token != "" && !secret.Is(f.Token):
		d.problem("forge.token", "is no reference to a secret", secret.Forms+"; the secret itself never stands here")
	case f.Token == "" && r.Password == "":
		d.problem("forge.token", "is missing", "env:NAME, file:PATH or kubernetes:NAMESPACE/NAME/KEY, of somebody who may open pull requests")
	}
}

func (t *Target) fill(func(string) bool) {}

// target checks a Target by itself.
func (d *document) target(t *Target) {
	t.file = d.file
	d.name("environment", t.Environment)
	if !d.unread("release") && !digestRule.MatchString(t.Release) {
		d.problem("release", shorten(t.Release)+" is no digest of a release", "sha256: and 64 characters; see: waybill release list")
	}
	if len(t.Name) > maxText {
		d.problem("name", "is too long", "")
	}
}

// gitops checks what only shows when all documents are known.
func (all *declarations) gitops() {
	for _, second := range all.repositories[min(1, len(all.repositories)):] {
		first := all.repositories[0].doc
		second.doc.problem("", "is a second Repository; at most one expected; see "+first.file, "")
	}
	targets := map[string]*document{}
	for _, t := range all.targets {
		if t.value.Environment == "" {
			continue
		}
		unique(targets, t.value.Environment, t.doc, "environment", "there is a Target for "+shorten(t.value.Environment)+" already")
		if !all.knowsEnvironment(t.value.Environment) {
			t.doc.problem("environment", "there is no Environment "+shorten(t.value.Environment), "")
		}
	}
}

// knowsEnvironment says whether there is such an environment, or one that could not be read.
func (all *declarations) knowsEnvironment(name string) bool {
	for _, e := range all.environments {
		if e.value.Name == name || e.value.Name == "" {
			return true
		}
	}
	return all.unreadable()
}
