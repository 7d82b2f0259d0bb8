package router

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/long"
)

// cookies a router set on an answer.
func bucketFrom(t *testing.T, a answerOf) *http.Cookie {
	t.Helper()
	for _, c := range (&http.Response{Header: a.header}).Cookies() {
		if c.Name == BucketCookie {
			return c
		}
	}
	return nil
}

func TestBucketsSplitExactly(t *testing.T) {
	long.Test(t)
	r := newRig(t)
	old, fresh := upstream(t, "old", hello), upstream(t, "new", hello)
	for _, weight := range []int{0, 1, 5, 50, 99, 100} {
		r.apply(Tenant{Stable: old, Canary: &fresh, Weight: weight})
		for bucket := range buckets {
			want := "old"
			if bucket < weight {
				want = "new"
			}
			a := r.get("/", withBucket(bucket))
			require.NoError(t, a.err)
			require.Equal(t, want, a.pool, "weight %d, bucket %d", weight, bucket)
			require.Nil(t, bucketFrom(t, a), "a bucket that is known needs no new cookie")
		}
	}
	require.EqualValues(t, 0+1+5+50+99+100, r.pool("new").Requests)
	require.EqualValues(t, 600-255, r.pool("old").Requests)
	require.Zero(t, r.pool("old").Failed)
}

func TestSessionsStickThroughWeightChanges(t *testing.T) {
	long.Test(t)
	r := newRig(t)
	old, fresh := upstream(t, "old", hello), upstream(t, "new", hello)
	weight := 10
	r.apply(Tenant{Stable: old, Canary: &fresh, Weight: weight})

	// Forty browsers that the router has not seen yet, each with its Odoo session.
	type browser struct{ session, bucket *http.Cookie }
	browsers := make([]browser, 40)
	for i := range browsers {
		b := &browsers[i]
		b.session = &http.Cookie{Name: sessionCookie, Value: fmt.Sprintf("%040x", i*7919)}
		a := r.get("/odoo", func(q *http.Request) { q.AddCookie(b.session) })
		require.NoError(t, a.err)
		b.bucket = bucketFrom(t, a)
		require.NotNil(t, b.bucket)
		require.True(t, b.bucket.HttpOnly)
		require.Equal(t, http.SameSiteLaxMode, b.bucket.SameSite)
		require.Equal(t, "/", b.bucket.Path)
		require.False(t, b.bucket.Secure, "no TLS here")
		require.Equal(t, bucketMaxAge, b.bucket.MaxAge)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		weight = random.IntN(101)
		r.apply(Tenant{Stable: old, Canary: &fresh, Weight: weight})
		for i, b := range browsers {
			a := r.get("/odoo", func(q *http.Request) {
				// After a login Odoo gives the session another name; the bucket stays.
				q.AddCookie(&http.Cookie{Name: sessionCookie, Value: fmt.Sprint(random.Uint64())})
				q.AddCookie(b.bucket)
			})
			require.NoError(t, a.err)
			n, ok := parseBucket(b.bucket.Value)
			require.True(t, ok)
			require.Equal(t, map[bool]string{true: "new", false: "old"}[n < weight], a.pool, "browser %d, weight %d", i, weight)
		}
	}
}

func TestBucketOf(t *testing.T) {
	request := func(cookies string) *http.Request {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = "foobar:1234"
		if cookies != "" {
			r.Header.Set("Cookie", cookies)
		}
		return r
	}
	// FNV-1a 64 of "a" is 0xaf63dc4c8601ec8c, of "foobar" 0x85944171f73967e8 (the reference's test vectors).
	for _, c := range []struct {
		name, cookies string
		bucket        int
		fresh         bool
	}{
		{"cookie", "waybill_bucket=7; session_id=a", 7, false},
		{"two digits", "waybill_bucket=42", 42, false},
		{"session", "session_id=a", 0xaf63dc4c8601ec8c % 100, true},
		{"address", "", 0x85944171f73967e8 % 100, true},
		{"empty session", "session_id=", 0x85944171f73967e8 % 100, true},
		{"out of range", "waybill_bucket=100; session_id=a", 0xaf63dc4c8601ec8c % 100, true},
		{"negative", "waybill_bucket=-1; session_id=a", 0xaf63dc4c8601ec8c % 100, true},
		{"no number", "waybill_bucket=x; session_id=a", 0xaf63dc4c8601ec8c % 100, true},
		{"second is good", "waybill_bucket=x; waybill_bucket=9", 9, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			bucket, fresh := bucketOf(request(c.cookies))
			require.Equal(t, c.bucket, bucket)
			require.Equal(t, c.fresh, fresh)
		})
	}
}

func TestBucketsOfSessionsSpread(t *testing.T) {
	counts := make([]int, buckets)
	random := rand.New(rand.NewPCG(3, 4))
	const n = 100_000
	for range n {
		counts[hashBucket(fmt.Sprintf("%020x%020x", random.Uint64(), random.Uint64()))]++
	}
	for bucket, got := range counts { // 1000 each, six standard deviations
		require.InDelta(t, n/buckets, got, 190, "bucket %d", bucket)
	}
}
