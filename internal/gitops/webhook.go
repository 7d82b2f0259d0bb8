package gitops

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// maxHook bounds what a forge may send with a push, in bytes: GitHub's own limit. It is only summed up, never kept.
const maxHook = 25 << 20

// hookLog is how often a call that is refused is told of at most.
const hookLog = time.Minute

// signatureHeaders hold a sum of the body (HMAC-SHA-256 in hex digits, perhaps after "sha256="), by forge. Some send
// more than one; each that is there must be right.
var signatureHeaders = []string{
	"X-Hub-Signature-256", // GitHub, Gitea, Forgejo, Bitbucket
	"X-Gitea-Signature",
	"X-Forgejo-Signature",
	"X-Gogs-Signature",
}

// tokenHeader holds the secret itself: GitLab's way.
const tokenHeader = "X-Gitlab-Token"

// Webhook answers a forge's call that something was pushed: the repository is looked at, now. Nothing else comes of it,
// whatever the call says: so a call that somebody sends again does no harm.
func (f *Follower) Webhook() http.Handler {
	var mu sync.Mutex
	var told time.Time
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secret, err := f.Hook()
		if err != nil {
			f.Log.Error("the webhook's secret", "error", err)
			http.Error(w, "the server cannot read the webhook's secret; see its log", http.StatusServiceUnavailable)
			return
		}
		sum := hmac.New(sha256.New, []byte(secret))
		var long *http.MaxBytesError
		if _, err := io.Copy(sum, http.MaxBytesReader(w, r.Body, maxHook)); errors.As(err, &long) {
			http.Error(w, fmt.Sprintf("more than %d bytes are not read", maxHook), http.StatusRequestEntityTooLarge)
			return
		} else if err != nil {
			http.Error(w, "the body could not be read", http.StatusBadRequest)
			return
		}
		if why := refusedHook(r.Header, secret, sum.Sum(nil)); why != "" {
			mu.Lock()
			defer mu.Unlock()
			if now := time.Now(); now.Sub(told) >= hookLog {
				told = now
				f.Log.Warn("a call of the webhook is refused", "why", why, "from", r.RemoteAddr)
			}
			http.Error(w, why, http.StatusUnauthorized)
			return
		}
		f.Wake()
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write([]byte("the estate's repository is looked at\n"))
	})
}

// refusedHook says why a call does not count; empty: it does. Secrets are compared in constant time.
func refusedHook(h http.Header, secret string, sum []byte) string {
	found := false
	for _, name := range signatureHeaders {
		text := h.Get(name)
		if text == "" {
			continue
		}
		given, err := hex.DecodeString(strings.TrimPrefix(text, "sha256="))
		if err != nil || !hmac.Equal(given, sum) {
			return name + " is not of this body under the webhook's secret"
		}
		found = true
	}
	if token := h.Get(tokenHeader); token != "" {
		if subtle.ConstantTimeCompare([]byte(token), []byte(secret)) != 1 {
			return tokenHeader + " is not the webhook's secret"
		}
		found = true
	}
	if !found {
		return "the call is not signed: " + signatureHeaders[0] + " or " + tokenHeader + " is missing; set the webhook's secret at the forge"
	}
	return ""
}
