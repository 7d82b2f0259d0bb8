// Package console serves the web console: what `make build` made of web/, embedded in the binary. It knows nothing of
// releases; all that a page shows comes from the API.
package console

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"slices"
	"strings"
)

// built is empty but for .gitkeep until `make build` has run.
//
//go:embed all:dist
var built embed.FS

//go:embed unbuilt.html
var unbuilt []byte

const (
	page        = "index.html"
	hashed      = "assets/" // what lies there has the hash of its content in its name
	nonceMarker = "__NONCE__"
)

// policy lets the page load what this server serves, and nothing else. There is no inline script. Style elements carry
// the nonce of the page: Mantine writes the theme's variables and the rules of its grids into such elements.
const policy = "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-%s'; img-src 'self' data:; font-src 'self'; connect-src 'self'; manifest-src 'self'; " +
	"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// file is one that was built, as it is and compressed.
type file struct {
	content  []byte
	gzip, br []byte
	kind     string
	tag      string
}

// Handler serves the console at every path that no file has: the page decides what it shows there.
func Handler() (http.Handler, error) {
	dist, err := fs.Sub(built, "dist")
	if err != nil {
		return nil, err
	}
	return handler(dist)
}

func handler(dist fs.FS) (http.Handler, error) {
	files := map[string]*file{}
	err := fs.WalkDir(dist, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || path.Base(name)[0] == '.' {
			return err
		}
		content, err := fs.ReadFile(dist, name)
		if err != nil {
			return err
		}
		of, suffix := name, path.Ext(name)
		if suffix == ".gz" || suffix == ".br" {
			of = strings.TrimSuffix(name, suffix)
		}
		f := files[of]
		if f == nil {
			f = &file{}
			files[of] = f
		}
		switch suffix {
		case ".gz":
			f.gzip = content
		case ".br":
			f.br = content
		default:
			sum := sha256.Sum256(content)
			f.content, f.kind, f.tag = content, kindOf(name), `"`+hex.EncodeToString(sum[:16])+`"`
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the embedded console: %w", err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "the console is only read; what changes something goes to /api/v1", http.StatusMethodNotAllowed)
			return
		}
		name := strings.TrimPrefix(path.Clean("/"+r.URL.Path), "/")
		f := files[name]
		switch {
		case f != nil && f.content != nil && name != page:
			f.serve(w, r, strings.HasPrefix(name, hashed))
		case strings.HasPrefix(name, hashed):
			http.NotFound(w, r)
		case files[page] == nil:
			servePage(w, r, unbuilt)
		default:
			servePage(w, r, files[page].content)
		}
	}), nil
}

// secure says what a browser may do with an answer.
func secure(h http.Header, nonce string) {
	h.Set("Content-Security-Policy", fmt.Sprintf(policy, nonce))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
}

// servePage serves the page that every path of the console has, with a nonce that is used once.
func servePage(w http.ResponseWriter, r *http.Request, content []byte) {
	var random [18]byte
	_, _ = rand.Read(random[:])
	nonce := base64.StdEncoding.EncodeToString(random[:])
	secure(w.Header(), nonce)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store") // a nonce from a cache would be used twice
	if r.Method == http.MethodHead {
		return
	}
	_, _ = w.Write(bytes.ReplaceAll(content, []byte(nonceMarker), []byte(nonce)))
}

func (f *file) serve(w http.ResponseWriter, r *http.Request, forever bool) {
	h := w.Header()
	secure(h, "none")
	h.Set("Content-Type", f.kind)
	h.Set("Cache-Control", "no-cache")
	if forever {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	content, tag := f.content, f.tag
	if f.gzip != nil || f.br != nil {
		h.Set("Vary", "Accept-Encoding")
		switch {
		case f.br != nil && accepts(r, "br"):
			content, tag = f.br, strings.TrimSuffix(f.tag, `"`)+`-br"`
			h.Set("Content-Encoding", "br")
		case f.gzip != nil && accepts(r, "gzip"):
			content, tag = f.gzip, strings.TrimSuffix(f.tag, `"`)+`-gzip"`
			h.Set("Content-Encoding", "gzip")
		}
	}
	h.Set("ETag", tag)
	if slices.Contains(strings.Split(strings.ReplaceAll(r.Header.Get("If-None-Match"), " ", ""), ","), tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Length", fmt.Sprint(len(content)))
	if r.Method == http.MethodHead {
		return
	}
	_, _ = w.Write(content)
}

// accepts says whether a client takes an encoding; one that it weighs with nothing it does not take.
func accepts(r *http.Request, encoding string) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, weight, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.EqualFold(strings.TrimSpace(name), encoding) {
			weight = strings.ReplaceAll(weight, " ", "")
			return strings.Trim(strings.TrimPrefix(weight, "q="), "0.") != "" || weight == ""
		}
	}
	return false
}

// kindOf does not ask the machine's own tables, which differ.
func kindOf(name string) string {
	switch path.Ext(name) {
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".woff2":
		return "font/woff2"
	case ".html":
		return "text/html; charset=utf-8"
	case ".txt":
		return "text/plain; charset=utf-8"
	}
	if kind := mime.TypeByExtension(path.Ext(name)); kind != "" {
		return kind
	}
	return "application/octet-stream"
}
