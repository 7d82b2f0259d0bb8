package server

import "net/http"

// policy lets a page load what this server serves and nothing else. Pages that need less, or other things, say so
// themselves.
const policy = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// secureTransport is for how long a browser remembers to come by TLS alone, in seconds: half a year.
const secureTransport = "max-age=15552000"

// secured gives every answer what tells a browser to trust it no further than needed.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		if r.TLS != nil {
			h.Set("Strict-Transport-Security", secureTransport)
		}
		next.ServeHTTP(w, r)
	})
}
