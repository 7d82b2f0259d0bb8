package router

import (
	"encoding/json"
	"html"
	"net/http"
	"strconv"
	"strings"
)

// answer is what the router says itself, as a page to people and as JSON to machines.
type answer struct {
	status int
	title  string
	text   string
	retry  int // seconds until the client should come back; 0: it need not
}

const retrySeconds = 5

const style = `:root{color-scheme:light dark}body{margin:0;min-height:100vh;display:grid;place-items:center;` +
	`font:16px/1.6 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;background:#f4f5f7;color:#1f2933}` +
	`main{max-width:34rem;margin:1rem;padding:2.5rem;background:#fff;border-radius:12px;box-shadow:0 2px 16px #0002}` +
	`h1{margin:0 0 .75rem;font-size:1.5rem;line-height:1.25}p{margin:.5rem 0}.s{color:#616e7c;font-size:.875rem}` +
	`@media(prefers-color-scheme:dark){body{background:#15181c;color:#e4e7eb}main{background:#1f2429}.s{color:#9aa5b1}}`

func (a answer) write(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Add("Vary", "Accept")
	if a.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(a.retry))
	}
	if !wantsHTML(r) {
		body := struct {
			Error      string `json:"error"`
			RetryAfter int    `json:"retry_after,omitempty"` // seconds
		}{a.text, a.retry}
		h.Set("Content-Type", "application/json")
		w.WriteHeader(a.status)
		_ = json.NewEncoder(w).Encode(body) // the client may be gone
		return
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'; base-uri 'none'; form-action 'none'")
	var b strings.Builder
	b.WriteString(`<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta name="robots" content="noindex">`)
	note := ""
	if a.retry > 0 {
		note = "Nothing was changed by this request. Please go back and try again in a moment."
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			// Only what is safe to ask again is asked again.
			b.WriteString(`<meta http-equiv="refresh" content="` + strconv.Itoa(a.retry) + `">`)
			note = "This page tries again by itself every " + strconv.Itoa(a.retry) + " seconds."
		}
	}
	b.WriteString(`<title>` + html.EscapeString(a.title) + `</title><style>` + style + `</style></head><body><main><h1>` +
		html.EscapeString(a.title) + `</h1><p>` + strings.ReplaceAll(html.EscapeString(a.text), "\n", "<br>") + `</p>`)
	if note != "" {
		b.WriteString(`<p class="s">` + note + `</p>`)
	}
	b.WriteString(`</main></body></html>`)
	w.WriteHeader(a.status)
	if r.Method != http.MethodHead {
		_, _ = w.Write([]byte(b.String())) // the client may be gone
	}
}

func wantsHTML(r *http.Request) bool {
	for _, v := range r.Header["Accept"] {
		if strings.Contains(strings.ToLower(v), "text/html") {
			return true
		}
	}
	return false
}

func frozen(t *Tenant) answer {
	text := t.Message
	if text == "" {
		text = "An update is being installed. Your data is safe, and work can go on in a few minutes."
	}
	return answer{http.StatusServiceUnavailable, "Back in a moment", text, retrySeconds}
}

func busy(text string) answer {
	return answer{http.StatusServiceUnavailable, "Back in a moment", text, retrySeconds}
}

func unknownHost(host string) answer {
	return answer{http.StatusNotFound, "No such address here",
		"No tenant answers to the host " + strconv.Quote(host) + ". Check the address for a typing error; " +
			"an administrator adds a host to the tenant's file in the estate, under hosts.", 0}
}

func noAnswer(status int, text string) answer {
	return answer{status, "The application did not answer", text, retrySeconds}
}
