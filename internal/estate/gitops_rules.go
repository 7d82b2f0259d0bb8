package estate

import (
	"net/url"
	"regexp"
	"strings"
	"time"
)

var (
	digestRule = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	branchRule = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$`)
	proposes   = []string{string(ProposeCommit), string(ProposeBranch)}
	pollSpan   = span[time.Duration]{0, 24 * time.Hour}
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
			d.problem("remote", "holds a password", "name where it stands: password: env:NAME or file:PATH")
		}
	}
	if !d.unread("branch") && (!branchRule.MatchString(r.Branch) || strings.Contains(r.Branch, "..") || strings.HasSuffix(r.Branch, "/")) {
		d.problem("branch", shorten(r.Branch)+" is no name of a branch", "")
	}
	if r.Password != "" && !d.unread("password") && !secretRule.MatchString(r.Password) {
		d.problem("password", "is no reference to a secret", "env:NAME or file:PATH; the secret itself never stands here")
	}
	if r.Webhook != "" && !d.unread("webhook") && !secretRule.MatchString(r.Webhook) {
		d.problem("webhook", "is no reference to a secret", "env:NAME or file:PATH; the secret itself never stands here")
	}
	within(d, "poll", r.Poll, pollSpan, "0s: only when the server is told")
	if d.given("propose") && !d.unread("propose") {
		d.oneOf("propose", string(r.Propose), proposes)
	}
	d.signatures(r)
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
