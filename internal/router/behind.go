package router

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// behind lets the proxies in the given networks say who the client is and whether it speaks TLS, as
// they write it into X-Forwarded-For (the last address) and X-Forwarded-Proto. Nobody else may.
func behind(proxies []netip.Prefix, next http.Handler) http.Handler {
	if len(proxies) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if within(proxies, r.RemoteAddr) {
			if client, ok := forwardedFor(r.Header); ok {
				r.RemoteAddr = net.JoinHostPort(client.String(), "0")
			}
			if r.TLS == nil && strings.EqualFold(strings.TrimSpace(r.Header.Get("X-Forwarded-Proto")), "https") {
				r.TLS = &tls.ConnectionState{}
			}
		}
		next.ServeHTTP(w, r)
	})
}

func within(networks []netip.Prefix, address string) bool {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return false
	}
	for _, n := range networks {
		if n.Contains(at.Addr().Unmap()) {
			return true
		}
	}
	return false
}

// forwardedFor is the address that the nearest proxy wrote down: the ones before it anybody may have made up.
func forwardedFor(h http.Header) (netip.Addr, bool) {
	values := h.Values("X-Forwarded-For")
	if len(values) == 0 {
		return netip.Addr{}, false
	}
	last := values[len(values)-1]
	client, err := netip.ParseAddr(strings.TrimSpace(last[strings.LastIndex(last, ",")+1:]))
	return client.Unmap(), err == nil
}

func parseProxies(given []string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, g := range given {
		p, err := netip.ParsePrefix(g)
		if err != nil {
			return nil, fmt.Errorf("router: the network of a proxy %q: expected an address with prefix length, for example 10.0.0.0/8: %w", g, err)
		}
		all = append(all, p.Masked())
	}
	return all, nil
}
