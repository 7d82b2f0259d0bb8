package router

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// mirror answers with the request as the pool saw it.
func mirror(w http.ResponseWriter, r *http.Request) {
	_ = json.NewEncoder(w).Encode(map[string]any{"header": r.Header, "host": r.Host, "uri": r.RequestURI})
}

type seen struct {
	Header http.Header
	Host   string
	URI    string
}

func bodyOf(t *testing.T, answer string) (s seen) {
	t.Helper()
	require.True(t, strings.HasPrefix(answer, "HTTP/1.1 200 "), answer)
	_, body, ok := strings.Cut(answer, "\r\n\r\n")
	require.True(t, ok)
	require.NoError(t, json.Unmarshal([]byte(body[strings.Index(body, "{"):strings.LastIndex(body, "}")+1]), &s))
	return s
}

func TestHeadersFromOutsideThatArePassedOff(t *testing.T) {
	r := newRig(t)
	r.apply(Tenant{Stable: upstream(t, "old", mirror)})
	for _, forged := range []string{
		"X-Waybill-Signature: x", "x-waybill-signature: x", "X_Waybill_Signature: x", "X-Waybill_Signature: x",
		"x_wAYBILL-anything: x", "X-Waybill-: x", "X_Real_IP: 6.6.6.6", "X-Real-IP: 6.6.6.6", "X_Forwarded_For: 6.6.6.6",
		"X-Forwarded-For: 6.6.6.6", "X-Forwarded-Host: evil", "X_Forwarded_Host: evil", "X-Forwarded-Port: 1",
		"X-Forwarded-Proto: https", "X-Forwarded-Prefix: /evil", "Forwarded: for=6.6.6.6",
		"Connection: X-Waybill-Signature\r\nX-Waybill-Signature: x", "Connection: close, X-Real-IP, X-Forwarded-Host",
	} {
		t.Run(forged, func(t *testing.T) {
			got := bodyOf(t, r.raw("GET /a%2Fb//c;d?x=1;y=%zz HTTP/1.1\r\nHost: ACME.test:8069\r\nX-Keep: yes\r\nConnection: close\r\n"+forged+"\r\n\r\n"))
			for name, values := range got.Header {
				name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
				if name != "x-waybill-bucket" { // the router's own
					require.NotContains(t, name, "waybill")
				}
				require.NotContains(t, strings.Join(values, " "), "6.6.6.6")
				require.NotContains(t, strings.Join(values, " "), "evil")
			}
			require.Equal(t, "127.0.0.1", got.Header.Get("X-Forwarded-For"))
			require.Equal(t, "127.0.0.1", got.Header.Get("X-Real-Ip"))
			require.Equal(t, "ACME.test:8069", got.Header.Get("X-Forwarded-Host"))
			require.Equal(t, "http", got.Header.Get("X-Forwarded-Proto"))
			require.Empty(t, got.Header.Get("X-Forwarded-Port")+got.Header.Get("X-Forwarded-Prefix")+got.Header.Get("Forwarded"))
			require.Equal(t, "yes", got.Header.Get("X-Keep"))
			require.Equal(t, "ACME.test:8069", got.Host)
			require.Equal(t, "/a%2Fb//c;d?x=1;y=%zz", got.URI, "the address passes as it was written")
		})
	}
	for _, broken := range []string{"X-Waybill-Signature : x", " X-Waybill-Signature: x", "X-Waybill-Signature\x00: x"} {
		t.Run("refused "+broken, func(t *testing.T) {
			got := r.raw("GET / HTTP/1.1\r\nHost: acme.test\r\nConnection: close\r\n" + broken + "\r\n\r\n")
			if strings.HasPrefix(got, "HTTP/1.1 200 ") { // a folded line continues the header before it
				require.NotContains(t, strings.ToLower(fmt.Sprint(bodyOf(t, got).Header)), "signature:")
				return
			}
			require.True(t, strings.HasPrefix(got, "HTTP/1.1 400 "), got)
		})
	}
	t.Run("trailer", func(t *testing.T) {
		got := bodyOf(t, r.raw("POST / HTTP/1.1\r\nHost: acme.test\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nTrailer: X-Waybill-Signature\r\n\r\n"+
			"1\r\nx\r\n0\r\nX-Waybill-Signature: x\r\n\r\n"))
		got.Header.Del("X-Waybill-Bucket") // the router's own
		require.NotContains(t, strings.ToLower(fmt.Sprint(got.Header)), "waybill")
	})
}

func TestUnknownHost(t *testing.T) {
	r := newRig(t)
	require.Equal(t, http.StatusServiceUnavailable, r.get("/").status, "a router without table says so")
	r.apply(Tenant{Stable: upstream(t, "old", hello)})
	for _, c := range []struct {
		host string
		ok   bool
	}{
		{"acme.test", true}, {"ACME.TEST:8069", true}, {"acme.test.", true}, {"acme.test.:80", true},
		{"other.test", false}, {"acme.test.evil", false}, {"xacme.test", false}, {"", false},
	} {
		got := r.raw(fmt.Sprintf("GET / HTTP/1.1\r\nHost: %s\r\nAccept: text/html\r\nConnection: close\r\n\r\n", c.host))
		if c.ok {
			require.True(t, strings.HasPrefix(got, "HTTP/1.1 200 "), "%s: %s", c.host, got)
			continue
		}
		require.True(t, strings.HasPrefix(got, "HTTP/1.1 404 "), "%s: %s", c.host, got)
		require.Contains(t, got, "No tenant answers to the host")
	}
	evil := r.raw("GET / HTTP/1.1\r\nHost: a<script>b\r\nAccept: text/html\r\nConnection: close\r\n\r\n")
	require.NotContains(t, evil, "<script>")
	big := r.raw("GET / HTTP/1.1\r\nHost: acme.test\r\nConnection: close\r\nX-Big: " + strings.Repeat("x", 80<<10) + "\r\n\r\n")
	require.True(t, strings.HasPrefix(big, "HTTP/1.1 431 "), big)
}
