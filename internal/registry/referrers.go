package registry

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// The library keeps no track of which manifest refers to which (the referrers API of OCI 1.1).
// Clients would have to keep an index under a tag by themselves, and two that write it at once lose
// one entry. So it is kept here: one file for each that refers, which nobody else writes.

const (
	maxManifest  = 4 << 20 // bytes; the library's own limit
	maxReferrers = 10_000  // of one subject
	indexType    = "application/vnd.oci.image.index.v1+json"
)

var (
	namePattern   = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	digestPattern = regexp.MustCompile(`^sha256:([a-f0-9]{64})$`)
)

// descriptor is an entry of the answer.
type descriptor struct {
	MediaType    string            `json:"mediaType"`
	Digest       string            `json:"digest"`
	Size         int64             `json:"size"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
}

// referrers answers what the library does not, and lets the rest through.
type referrers struct {
	dir  string
	next http.Handler
}

func (h *referrers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, rest, _ := cutLast(strings.TrimPrefix(r.URL.Path, "/v2/"), "/manifests/")
	if r.Method == http.MethodPut && rest != "" && namePattern.MatchString(name) {
		h.put(w, r, name)
		return
	}
	name, rest, ok := cutLast(strings.TrimPrefix(r.URL.Path, "/v2/"), "/referrers/")
	if ok && !strings.Contains(rest, "/") && namePattern.MatchString(name) && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		h.list(w, r, name, rest)
		return
	}
	h.next.ServeHTTP(w, r)
}

func cutLast(s, separator string) (before, after string, found bool) {
	if i := strings.LastIndex(s, separator); i >= 0 {
		return s[:i], s[i+len(separator):], true
	}
	return s, "", false
}

// put lets the library store the manifest, and notes to what it refers before the client hears of success.
func (h *referrers) put(w http.ResponseWriter, r *http.Request, name string) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxManifest+1))
	if err != nil {
		refuse(w, http.StatusBadRequest, "MANIFEST_INVALID", "the manifest was cut off")
		return
	}
	rest := r.Body
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(body), rest), rest}
	var m struct {
		MediaType    string `json:"mediaType"`
		ArtifactType string `json:"artifactType"`
		Config       struct {
			MediaType string `json:"mediaType"`
		} `json:"config"`
		Subject *struct {
			Digest string `json:"digest"`
		} `json:"subject"`
		Annotations map[string]string `json:"annotations"`
	}
	if len(body) > maxManifest || json.Unmarshal(body, &m) != nil || m.Subject == nil || !digestPattern.MatchString(m.Subject.Digest) {
		h.next.ServeHTTP(w, r)
		return
	}
	sum := sha256.Sum256(body)
	d := descriptor{MediaType: m.MediaType, Digest: "sha256:" + hex.EncodeToString(sum[:]), Size: int64(len(body)), ArtifactType: m.ArtifactType, Annotations: m.Annotations}
	if d.MediaType == "" {
		d.MediaType = r.Header.Get("Content-Type")
	}
	if d.ArtifactType == "" {
		d.ArtifactType = m.Config.MediaType
	}
	h.next.ServeHTTP(&noting{ResponseWriter: w, subject: m.Subject.Digest, note: func() error { return h.note(name, m.Subject.Digest, d) }}, r)
}

// noting notes the reference at the moment when the library reports that the manifest is stored.
type noting struct {
	http.ResponseWriter
	subject string
	note    func() error
	failed  bool
}

func (w *noting) WriteHeader(code int) {
	if code == http.StatusCreated {
		if err := w.note(); err != nil {
			slog.Error("registry: note what an attachment refers to", "subject", w.subject, "error", err)
			w.failed = true
			refuse(w.ResponseWriter, http.StatusInternalServerError, "UNKNOWN", "the manifest is stored, but not what it refers to; push it again")
			return
		}
		w.Header().Set("OCI-Subject", w.subject)
	}
	w.ResponseWriter.WriteHeader(code)
}

func (w *noting) Write(content []byte) (int, error) {
	if w.failed {
		return len(content), nil
	}
	return w.ResponseWriter.Write(content)
}

func (h *referrers) folder(name, subject string) string {
	// No part of a name begins with an underscore, so that no repository's folder is another's subject.
	return filepath.Join(h.dir, "referrers", filepath.FromSlash(name), "_of", strings.TrimPrefix(subject, "sha256:"))
}

// note writes one reference down, atomically; twice is once.
func (h *referrers) note(name, subject string, d descriptor) error {
	folder := h.folder(name, subject)
	if err := os.MkdirAll(folder, 0o750); err != nil {
		return err
	}
	content, err := json.Marshal(d)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(folder, ".new-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(folder, strings.TrimPrefix(d.Digest, "sha256:")+".json"))
}

// list answers with an index of what refers to the digest; of an unknown one, with an empty index.
func (h *referrers) list(w http.ResponseWriter, r *http.Request, name, digest string) {
	if !digestPattern.MatchString(digest) {
		refuse(w, http.StatusBadRequest, "DIGEST_INVALID", "expected sha256: and 64 hex digits")
		return
	}
	found, err := h.read(h.folder(name, digest))
	if err != nil {
		slog.Error("registry: list what refers to an image", "subject", digest, "error", err)
		refuse(w, http.StatusInternalServerError, "UNKNOWN", "what refers to the image cannot be read")
		return
	}
	wanted := r.URL.Query().Get("artifactType")
	answer := struct {
		SchemaVersion int          `json:"schemaVersion"`
		MediaType     string       `json:"mediaType"`
		Manifests     []descriptor `json:"manifests"`
	}{2, indexType, []descriptor{}}
	for _, d := range found {
		if wanted == "" || d.ArtifactType == wanted {
			answer.Manifests = append(answer.Manifests, d)
		}
	}
	content, err := json.Marshal(answer)
	if err != nil {
		refuse(w, http.StatusInternalServerError, "UNKNOWN", "the answer cannot be written")
		return
	}
	if wanted != "" {
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	w.Header().Set("Content-Type", indexType)
	w.Header().Set("Content-Length", fmt.Sprint(len(content)))
	if r.Method == http.MethodGet {
		_, _ = w.Write(content)
	}
}

// read reads the references of one subject, sorted by digest.
func (h *referrers) read(folder string) ([]descriptor, error) {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var found []descriptor
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		if len(found) >= maxReferrers {
			return nil, fmt.Errorf("%s has more than %d entries", folder, maxReferrers)
		}
		content, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			return nil, err
		}
		var d descriptor
		if err := json.Unmarshal(content, &d); err != nil {
			return nil, fmt.Errorf("%s: %w", entry.Name(), err)
		}
		found = append(found, d)
	}
	return found, nil
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": []map[string]string{{"code": code, "message": message}}})
}
