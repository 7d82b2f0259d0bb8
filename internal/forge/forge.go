// Package forge asks the place that a repository lives at for pull requests: GitHub, GitLab, and Gitea or Forgejo.
//
// One request opens one, and opening it twice finds the first: so what was cut off in between is simply asked again.
package forge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Kind is which API a forge speaks.
type Kind string

// The kinds.
const (
	GitHub Kind = "github"
	GitLab Kind = "gitlab"
	Gitea  Kind = "gitea" // and Forgejo
)

// Kinds are all of them.
var Kinds = []Kind{GitHub, GitLab, Gitea}

const (
	limit     = 30 * time.Second // of one call
	maxAnswer = 4 << 20          // bytes of an answer that are read; a pull request has some 20 KiB
	maxSaid   = 300              // characters of a forge's own words in an error
)

// Forge is a repository at a forge.
type Forge struct {
	Kind    Kind
	Base    string                 // URL at which people see the forge, for example https://git.example.com
	Project string                 // owner/name; at GitLab groups may stand before it
	Token   func() (string, error) // of somebody who may open pull requests there
}

// Request is what a pull request says.
type Request struct {
	Branch string // that is to be merged
	Into   string // the branch
	Title  string
	Body   string // Markdown
}

// ErrRefused is returned where the forge answers and does not do it: asking again alone does not help.
var ErrRefused = errors.New("the forge refuses it")

// calls follows no redirect: a POST that was redirected is lost, and the token is for this forge alone.
var calls = &http.Client{
	Timeout:       limit,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// Open opens a pull request, or finds the one that is open for this branch, and returns the address at which people see it.
func (f *Forge) Open(ctx context.Context, r Request) (link string, err error) {
	d, err := dialectOf(f.Kind)
	if err != nil {
		return "", err
	}
	status, answer, err := f.call(ctx, d, http.MethodPost, d.create(f.Project), d.body(r))
	switch {
	case err != nil:
		return "", f.failed(err)
	case status == http.StatusCreated:
		return f.link(d.one(answer))
	case !d.exists(status, answer):
		return "", f.refusal(d, status, answer)
	}
	refused := f.refusal(d, status, answer)
	if status, answer, err = f.call(ctx, d, http.MethodGet, d.find(f.Project, r), nil); err != nil {
		return "", f.failed(err)
	}
	if status == http.StatusOK {
		for _, p := range d.list(answer) {
			if p.open() {
				return f.link(p)
			}
		}
	}
	return "", refused
}

// link is where people see a pull request. What a forge says is shown in terminals and consoles: it must be an address.
func (f *Forge) link(p pull) (string, error) {
	link := p.HTML + p.Web
	if u, err := url.Parse(link); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return "", fmt.Errorf("%s opened a pull request and does not say where; look there", f.Base)
	}
	return link, nil
}

// call sends one request and returns the answer's status and what it holds.
func (f *Forge) call(ctx context.Context, d dialect, method, path string, body any) (int, []byte, error) {
	var content io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return 0, nil, err
		}
		content = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, d.api(f.Base)+path, content)
	if err != nil {
		return 0, nil, err
	}
	token, err := f.Token()
	if err != nil {
		return 0, nil, fmt.Errorf("its token: %w", err)
	}
	request.Header.Set(d.header, d.scheme+token)
	request.Header.Set("Accept", "application/json")
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "Waybill")
	response, err := calls.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return 0, nil, err
	}
	if len(answer) > maxAnswer {
		return 0, nil, fmt.Errorf("an answer of more than %d MiB is not read", maxAnswer>>20)
	}
	return response.StatusCode, answer, nil
}

// failed says that a forge could not be asked, without repeating the whole address.
func (f *Forge) failed(err error) error {
	var at *url.Error
	if errors.As(err, &at) {
		err = at.Err
	}
	return fmt.Errorf("ask %s for a pull request: %w", f.Base, err)
}

// refusal is what a forge answered instead, and the way out where it is a usual one.
func (f *Forge) refusal(d dialect, status int, answer []byte) error {
	said := fmt.Sprintf("%s answers %d %s", f.Base, status, http.StatusText(status))
	if words := d.words(answer); words != "" {
		said += " (" + words + ")"
	}
	switch status {
	case http.StatusUnauthorized:
		said += "; the token is not known there, or has expired"
	case http.StatusForbidden:
		said += "; the token's owner may not open pull requests in " + f.Project + ", or the token has not the scope for it: " + d.scope
	case http.StatusNotFound:
		said += "; there is no " + f.Project + " for the token's owner"
	case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		said += "; it sends elsewhere: give the address that it sends to in forge.url"
	}
	if status >= http.StatusInternalServerError || status == http.StatusTooManyRequests {
		return errors.New(said) // it may do it later
	}
	return fmt.Errorf("%w: %s", ErrRefused, said)
}

// Place takes a remote's URL apart: where the forge is seen, and the repository there. ok is false for a folder, and for
// what names no repository.
func Place(remote string) (base, project string, ok bool) {
	u, err := url.Parse(remote)
	if err != nil || u.Host == "" {
		// git@host:owner/name, as ssh has it.
		host, path, found := strings.Cut(remote, ":")
		if !found || strings.Contains(host, "/") || strings.HasPrefix(path, "/") {
			return "", "", false
		}
		if _, after, user := strings.Cut(host, "@"); user {
			host = after
		}
		u = &url.URL{Scheme: "ssh", Host: host, Path: "/" + path}
	}
	project = strings.TrimSuffix(strings.Trim(u.Path, "/"), ".git")
	if !strings.Contains(project, "/") {
		return "", "", false
	}
	switch u.Scheme {
	case "https", "http":
		return u.Scheme + "://" + u.Host, project, true
	case "ssh": // its port is sshd's
		return "https://" + u.Hostname(), project, true
	default:
		return "", "", false
	}
}

// KindOf tells by the host, where it is one that everybody knows.
func KindOf(base string) (Kind, bool) {
	u, err := url.Parse(base)
	if err != nil {
		return "", false
	}
	switch u.Hostname() {
	case "github.com":
		return GitHub, true
	case "gitlab.com":
		return GitLab, true
	case "codeberg.org", "gitea.com":
		return Gitea, true
	default:
		return "", false
	}
}
