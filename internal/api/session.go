package api

import (
	"context"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/identity"
)

// The session's cookie. With TLS its name has the prefix that browsers accept from this very host and over TLS alone,
// so that no neighbouring host can plant one.
const (
	plainCookie  = "waybill_session"
	secureCookie = "__Host-waybill_session"
)

func cookieName(secure bool) string {
	if secure {
		return secureCookie
	}
	return plainCookie
}

// sessionCookie carries a session; an empty text takes it away. Strict: no other site's link or form brings it along. The
// console's own requests do.
func sessionCookie(secure bool, text string, until time.Time) http.Cookie {
	c := http.Cookie{Name: cookieName(secure), Value: text, Path: "/", HttpOnly: true, Secure: secure, SameSite: http.SameSiteStrictMode}
	if text == "" {
		c.MaxAge = -1
	} else {
		c.Expires = until
	}
	return c
}

// isSecure says whether a request has come by TLS, to this server or to a proxy before it that is trusted; or goes to where people reach
// this server by TLS alone.
func (b Backend) isSecure(r *http.Request) bool {
	return r.TLS != nil ||
		b.PublicURL != nil && b.PublicURL.Scheme == "https" && r.Host == b.PublicURL.Host
}

// addressOf is the host that a request comes from, without its port.
func addressOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// crossOrigin refuses what another site's page has a browser send.
func crossOrigin(public *url.URL) *http.CrossOriginProtection {
	p := http.NewCrossOriginProtection()
	if public != nil {
		_ = p.AddTrustedOrigin(public.Scheme + "://" + public.Host) // a proxy may give another Host; a URL with scheme and host is a good one
	}
	return p
}

// offence says why a request that a cookie lets in, or that logs in, is not to be trusted; "" where it is. A form of
// another site can have a browser send one, but not as JSON and not with this site's origin.
func offence(protection *http.CrossOriginProtection, r *http.Request) (status int, why string) {
	// Whoever can change what a page without TLS holds can have it send anything; older browsers say no more of it than its origin.
	if r.TLS != nil && strings.HasPrefix(r.Header.Get("Origin"), "http://") && r.Method != http.MethodGet && r.Method != http.MethodHead {
		return http.StatusForbidden, "it was sent by a page without TLS"
	}
	if err := protection.Check(r); err != nil {
		return http.StatusForbidden, "it was sent by a page of another site"
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return 0, ""
	}
	kind := r.Header.Get("Content-Type")
	if kind == "" && r.ContentLength == 0 {
		return 0, ""
	}
	if media, _, err := mime.ParseMediaType(kind); err != nil || media != "application/json" {
		return http.StatusUnsupportedMediaType, "its body is not said to be application/json"
	}
	return 0, ""
}

// bySession says who asks by a cookie.
func (b Backend) bySession(ctx context.Context, a *asking) error {
	if b.Sessions == nil {
		return &identity.Unknown{Reason: "this server has no sessions"}
	}
	person, kept, err := b.Sessions.Find(ctx, a.shown)
	if err != nil {
		return err
	}
	a.person, a.session, a.until = person, &kept, kept.ExpiresAt
	return nil
}

// again says who it is by now, for what goes on for long. A session that only watches grows idle all the same.
func (b Backend) again(a *asking) func(context.Context) (identity.Person, error) {
	return func(ctx context.Context) (identity.Person, error) {
		if a.session != nil {
			person, _, err := b.Sessions.Look(ctx, a.shown)
			return person, err
		}
		return b.recognise(ctx, a.shown)
	}
}
