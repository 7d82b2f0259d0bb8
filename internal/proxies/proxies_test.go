package proxies

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhoIsBelieved(t *testing.T) {
	trusted, err := Parse([]string{"10.1.0.0/16", " 192.0.2.7", "fd00::/8"})
	require.NoError(t, err)
	for name, test := range map[string]struct {
		from    string
		headers []string // name, value, …
		client  string
		secure  bool
	}{
		"nobody said anything":            {"10.1.2.3:4711", nil, "10.1.2.3:4711", false},
		"a client forges":                 {"203.0.113.9:4711", []string{"X-Forwarded-For", "127.0.0.1", "X-Forwarded-Proto", "https"}, "203.0.113.9:4711", false},
		"a proxy speaks":                  {"10.1.2.3:4711", []string{"X-Forwarded-For", "203.0.113.9", "X-Forwarded-Proto", "https"}, "203.0.113.9:0", true},
		"a client forges before a proxy":  {"10.1.2.3:4711", []string{"X-Forwarded-For", "127.0.0.1, 203.0.113.9", "X-Forwarded-Proto", "https, http"}, "203.0.113.9:0", false},
		"a chain":                         {"10.1.2.3:4711", []string{"X-Forwarded-For", "6.6.6.6, 203.0.113.9, 192.0.2.7, 10.1.9.9", "X-Forwarded-Proto", "https"}, "203.0.113.9:0", true},
		"a chain in several lines":        {"10.1.2.3:4711", []string{"X-Forwarded-For", "6.6.6.6, 203.0.113.9", "X-Forwarded-For", "192.0.2.7"}, "203.0.113.9:0", false},
		"a client that forges a proxy":    {"10.1.2.3:4711", []string{"X-Forwarded-For", "6.6.6.6, 10.1.0.1, 203.0.113.9, 10.1.9.9"}, "203.0.113.9:0", false},
		"all are proxies":                 {"10.1.2.3:4711", []string{"X-Forwarded-For", "10.1.5.5, 10.1.9.9"}, "10.1.5.5:0", false},
		"rubbish":                         {"10.1.2.3:4711", []string{"X-Forwarded-For", "rubbish"}, "10.1.2.3:4711", false},
		"rubbish before a proxy":          {"10.1.2.3:4711", []string{"X-Forwarded-For", "203.0.113.9, rubbish, 10.1.9.9"}, "10.1.9.9:0", false},
		"with a port":                     {"10.1.2.3:4711", []string{"X-Forwarded-For", "203.0.113.9:5555"}, "203.0.113.9:0", false},
		"IPv6":                            {"[fd00::1]:4711", []string{"X-Forwarded-For", "2001:db8::9"}, "[2001:db8::9]:0", false},
		"IPv6 with a port":                {"[fd00::1]:4711", []string{"X-Forwarded-For", "[2001:db8::9]:5"}, "[2001:db8::9]:0", false},
		"IPv4 in IPv6":                    {"[::ffff:10.1.2.3]:4711", []string{"X-Forwarded-For", "::ffff:203.0.113.9"}, "203.0.113.9:0", false},
		"one address, and its neighbour":  {"192.0.2.8:4711", []string{"X-Forwarded-For", "203.0.113.9"}, "192.0.2.8:4711", false},
		"what another header says is not": {"10.1.2.3:4711", []string{"X-Real-Ip", "203.0.113.9", "Forwarded", "for=203.0.113.9;proto=https", "X-Forwarded-Ssl", "on"}, "10.1.2.3:4711", false},
	} {
		request := httptest.NewRequest(http.MethodGet, "/", nil)
		request.RemoteAddr = test.from
		for i := 0; i < len(test.headers); i += 2 {
			request.Header.Add(test.headers[i], test.headers[i+1])
		}
		asked := false
		trusted.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			asked = true
			require.Equal(t, test.client, r.RemoteAddr, name)
			require.Equal(t, test.secure, r.TLS != nil, name)
		})).ServeHTTP(httptest.NewRecorder(), request)
		require.True(t, asked, name)
	}
}

func TestNetworksThatAreNone(t *testing.T) {
	for _, text := range []string{"", "10.1.0.0/40", "traefik", "10.1.0.0-10.2.0.0", "::ffff:10.0.0.0/104", "fe80::1%eth0"} {
		_, err := Parse([]string{text})
		require.ErrorContains(t, err, "the network of a proxy", text)
	}
}
