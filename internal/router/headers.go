package router

import (
	"net/http"
	"strings"
)

// forbidden are the headers, as WSGI sees them, that only the router may set. WSGI folds "_" and
// "-" and letter case into one name, so a client could otherwise forge X-Real-IP as x_real_ip.
var forbidden = map[string]bool{"x-real-ip": true, "forwarded": true}

var forbiddenPrefixes = []string{"x-waybill-", "x-forwarded-"}

func mayPass(name string) bool {
	name = strings.ReplaceAll(strings.ToLower(strings.TrimSpace(name)), "_", "-")
	if forbidden[name] {
		return false
	}
	for _, p := range forbiddenPrefixes {
		if strings.HasPrefix(name, p) {
			return false
		}
	}
	return true
}

// cleanHeader takes out what a client may not send. Hop-by-hop headers, and what Connection
// lists, the reverse proxy has already taken out; what the router sets comes after both.
func cleanHeader(h http.Header) {
	for name := range h {
		if !mayPass(name) {
			delete(h, name)
		}
	}
}

// setProxyHeaders writes what Odoo reads with proxy_mode = True. Nothing of it is taken from outside.
func setProxyHeaders(out http.Header, in *http.Request) {
	client := clientAddress(in)
	proto := "http"
	if in.TLS != nil {
		proto = "https"
	}
	out.Set("X-Forwarded-For", client)
	out.Set("X-Real-Ip", client)
	out.Set("X-Forwarded-Host", in.Host)
	out.Set("X-Forwarded-Proto", proto)
}

// forWebsocket tells the paths that Odoo serves on its gevent port: /websocket since 16, /longpolling before.
func forWebsocket(path string) bool {
	for _, p := range []string{"/websocket", "/longpolling"} {
		if strings.HasPrefix(path, p) && (len(path) == len(p) || path[len(p)] == '/') {
			return true
		}
	}
	return false
}

func wantsUpgrade(r *http.Request) bool {
	for _, v := range r.Header["Connection"] {
		for token := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(token), "upgrade") {
				return r.Header.Get("Upgrade") != ""
			}
		}
	}
	return false
}
