// Package proxies says who the client is behind proxies, and whether it has come by TLS. Only proxies in networks that were named are
// believed: anybody can write a header.
package proxies

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Networks are those of the proxies that are believed.
type Networks []netip.Prefix

// Parse reads networks as 10.0.0.0/8; a single address stands for itself.
func Parse(given []string) (Networks, error) {
	var all Networks
	for _, g := range given {
		g = strings.TrimSpace(g)
		p, err := netip.ParsePrefix(g)
		if address, wrong := netip.ParseAddr(g); wrong == nil && address.Zone() == "" {
			p, err = netip.PrefixFrom(address, address.BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("the network of a proxy %q: expected an address with prefix length, for example 10.0.0.0/8, or one address: %w", g, err)
		}
		if p.Addr().Is4In6() {
			return nil, fmt.Errorf("the network of a proxy %q: write it as IPv4, for example 10.0.0.0/8", g)
		}
		all = append(all, p.Masked())
	}
	return all, nil
}

func (n Networks) contain(address netip.Addr) bool {
	for _, p := range n {
		if p.Contains(address) {
			return true
		}
	}
	return false
}

// Handler hands requests on as the client has sent them: RemoteAddr is the client's (with port 0, for no proxy tells it), and TLS is not
// nil where it has come by TLS to the nearest proxy. Requests of anybody else pass as they are.
func (n Networks) Handler(next http.Handler) http.Handler {
	if len(n) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if from, err := netip.ParseAddrPort(r.RemoteAddr); err == nil && n.contain(from.Addr().Unmap()) {
			if client, ok := n.client(r.Header); ok {
				r.RemoteAddr = net.JoinHostPort(client.String(), "0")
			}
			if r.TLS == nil && strings.EqualFold(last(r.Header.Values("X-Forwarded-Proto")), "https") {
				r.TLS = &tls.ConnectionState{}
			}
		}
		next.ServeHTTP(w, r)
	})
}

// client is the address that the farthest of the proxies that are believed has written down: what stands before that, anybody may have
// made up. Where all are such proxies, it is the farthest one.
func (n Networks) client(h http.Header) (client netip.Addr, ok bool) {
	said := strings.Split(strings.Join(h.Values("X-Forwarded-For"), ","), ",")
	for i := len(said) - 1; i >= 0; i-- {
		address, err := read(strings.TrimSpace(said[i]))
		if err != nil {
			return client, ok // what a proxy says next to it is all that is known
		}
		client, ok = address.Unmap().WithZone(""), true
		if !n.contain(client) {
			return client, true
		}
	}
	return client, ok
}

// read reads an address as proxies write it: some add the port.
func read(text string) (netip.Addr, error) {
	address, err := netip.ParseAddr(text)
	if err == nil {
		return address, nil
	}
	with, wrong := netip.ParseAddrPort(text)
	if wrong != nil {
		return netip.Addr{}, err
	}
	return with.Addr(), nil
}

// last is what the nearest proxy has written, where each adds to what the one before has.
func last(values []string) string {
	said := strings.Join(values, ",")
	return strings.TrimSpace(said[strings.LastIndex(said, ",")+1:])
}
