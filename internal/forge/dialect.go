package forge

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// dialect is what differs between the forges' APIs.
type dialect struct {
	header, scheme string                                 // of the token
	scope          string                                 // that the token needs, in the forge's own words
	api            func(base string) string               // where the API is
	create         func(project string) string            // path that opens a pull request
	body           func(Request) any                      // what is posted there
	exists         func(status int, answer []byte) bool   // the answer says that there is one already
	find           func(project string, r Request) string // path that finds it
}

// pull is a pull request, as far as it is read. A forge fills one of the addresses.
type pull struct {
	HTML  string `json:"html_url"` // GitHub, Gitea
	Web   string `json:"web_url"`  // GitLab
	State string `json:"state"`
}

func (p pull) open() bool { return p.State == "open" || p.State == "opened" }

// pulls is what GitHub and Gitea are sent.
type pulls struct {
	Title string `json:"title"`
	Head  string `json:"head"`
	Base  string `json:"base"`
	Body  string `json:"body"`
}

// mergeRequest is what GitLab is sent. The branch was made for it, and goes with it.
type mergeRequest struct {
	Title        string `json:"title"`
	Source       string `json:"source_branch"`
	Target       string `json:"target_branch"`
	Description  string `json:"description"`
	RemoveSource bool   `json:"remove_source_branch"`
}

// dialectOf holds what https://docs.github.com/rest/pulls, https://docs.gitlab.com/api/merge_requests and Gitea's
// /api/swagger say.
func dialectOf(k Kind) (dialect, error) {
	conflicts := func(status int, _ []byte) bool { return status == http.StatusConflict }
	switch k {
	case GitHub:
		return dialect{
			header: "Authorization", scheme: "Bearer ", scope: "pull requests, read and write",
			api: func(base string) string {
				if base == "https://github.com" {
					return "https://api.github.com"
				}
				return base + "/api/v3"
			},
			create: func(project string) string { return "/repos/" + escaped(project) + "/pulls" },
			body:   func(r Request) any { return pulls{r.Title, r.Branch, r.Into, r.Body} },
			exists: func(status int, answer []byte) bool {
				return status == http.StatusUnprocessableEntity && bytes.Contains(answer, []byte("already exists"))
			},
			find: func(project string, r Request) string {
				owner, _, _ := strings.Cut(project, "/")
				return "/repos/" + escaped(project) + "/pulls?" + url.Values{"state": {"open"}, "head": {owner + ":" + r.Branch}, "base": {r.Into}}.Encode()
			},
		}, nil
	case GitLab:
		at := func(project string) string { return "/projects/" + url.PathEscape(project) + "/merge_requests" }
		return dialect{
			header: "Private-Token", scope: "api",
			api:    func(base string) string { return base + "/api/v4" },
			create: at,
			body:   func(r Request) any { return mergeRequest{r.Title, r.Branch, r.Into, r.Body, true} },
			exists: conflicts,
			find: func(project string, r Request) string {
				return at(project) + "?" + url.Values{"state": {"opened"}, "source_branch": {r.Branch}, "target_branch": {r.Into}}.Encode()
			},
		}, nil
	case Gitea:
		return dialect{
			header: "Authorization", scheme: "token ", scope: "write:repository",
			api:    func(base string) string { return base + "/api/v1" },
			create: func(project string) string { return "/repos/" + escaped(project) + "/pulls" },
			body:   func(r Request) any { return pulls{r.Title, r.Branch, r.Into, r.Body} },
			exists: conflicts,
			// A branch's name stands there with its slashes.
			find: func(project string, r Request) string {
				return "/repos/" + escaped(project) + "/pulls/" + url.PathEscape(r.Into) + "/" + escaped(r.Branch)
			},
		}, nil
	default:
		return dialect{}, fmt.Errorf("no kind of forge is called %q", k)
	}
}

// one reads an answer that is one pull request.
func (d dialect) one(answer []byte) pull {
	var p pull
	_ = json.Unmarshal(answer, &p) // without an address it says nothing, which is told
	return p
}

// list reads an answer that is one or several.
func (d dialect) list(answer []byte) []pull {
	var all []pull
	if json.Unmarshal(answer, &all) == nil {
		return all
	}
	return []pull{d.one(answer)}
}

// words are the forge's own about what went wrong, on one line. GitLab says them as a text, a list or by field.
func (d dialect) words(answer []byte) string {
	var said struct {
		Message json.RawMessage `json:"message"`
		Error   json.RawMessage `json:"error"`
	}
	if json.Unmarshal(answer, &said) != nil {
		return ""
	}
	raw := said.Message
	if len(raw) == 0 {
		raw = said.Error
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		text = string(raw)
	}
	text = strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)), " ")
	if len([]rune(text)) > maxSaid {
		text = string([]rune(text)[:maxSaid]) + "…"
	}
	return text
}

// escaped keeps the slashes between the parts of a name.
func escaped(name string) string {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return strings.Join(parts, "/")
}
