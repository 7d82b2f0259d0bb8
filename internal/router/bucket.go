package router

import (
	"hash/fnv"
	"net"
	"net/http"
	"strconv"
)

// BucketCookie keeps a session's bucket, 0–99.
const BucketCookie = "waybill_bucket"

const (
	buckets       = 100
	sessionCookie = "session_id" // Odoo's
	bucketMaxAge  = 90 * 24 * 60 * 60
)

// bucketOf returns the bucket of a request, and whether it must be told to the client. It is a
// function of the request alone, so that every router and Traefik rule comes to the same answer.
func bucketOf(r *http.Request) (bucket int, fresh bool) {
	for _, c := range r.CookiesNamed(BucketCookie) {
		if n, ok := parseBucket(c.Value); ok {
			return n, false
		}
	}
	for _, c := range r.CookiesNamed(sessionCookie) {
		if c.Value != "" {
			return hashBucket(c.Value), true
		}
	}
	return hashBucket(clientAddress(r)), true
}

func parseBucket(s string) (int, bool) {
	n := 0
	if len(s) < 1 || len(s) > 2 {
		return 0, false
	}
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}

// hashBucket is FNV-1a 64 (http://www.isthe.com/chongo/tech/comp/fnv/) modulo 100.
func hashBucket(s string) int {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s)) // never fails
	return int(h.Sum64() % buckets)
}

func clientAddress(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

func bucketCookie(bucket int, secure bool) *http.Cookie {
	return &http.Cookie{
		Name: BucketCookie, Value: strconv.Itoa(bucket), Path: "/", MaxAge: bucketMaxAge,
		HttpOnly: true, Secure: secure, SameSite: http.SameSiteLaxMode,
	}
}
