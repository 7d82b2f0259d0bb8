// Package client is the people of Acme's warehouse, as far as their Odoo can tell: clerks who
// log in over HTTP, keep their cookies, place orders and ship them, for as long as they are let.
// It writes down every order that Odoo acknowledged, counts every request that went wrong, and
// compares the two with the database at the end. It knows nothing of Waybill but the name of
// its bucket cookie.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// BucketCookie holds the number 0–99 that says which share of the traffic a session belongs to.
const BucketCookie = "waybill_bucket"

// Patience is how long a person waits for one answer before giving up, unless the Site says otherwise.
const Patience = 90 * time.Second

// maxAnswer bounds what is read of one answer, in bytes.
const maxAnswer = 16 << 20

// Site is an Odoo tenant as its users reach it.
type Site struct {
	Address  string        // host:port that is dialled
	Host     string        // host name that is asked for
	Database string        // where more than one is behind the host; else the host's own
	Patience time.Duration // 0: Patience

	// ComesBack has people who are told to come back later (503 with Retry-After) do so, for as long as it takes. They
	// are counted as turned away, not as failed.
	ComesBack bool
}

// origin is the URL under which the browser of a user would see the site.
func (s Site) origin() string {
	_, port, err := net.SplitHostPort(s.Address)
	if err != nil {
		return "http://" + s.Host
	}
	return "http://" + net.JoinHostPort(s.Host, port)
}

// Person is one user with one browser session. Its methods are not safe for concurrent use, as
// a person does one thing at a time.
type Person struct {
	site     Site
	login    string
	password string
	bucket   int
	tally    *Tally
	http     *http.Client
	cookies  *cookiejar.Jar
	sequence atomic.Int64
}

// Person returns a user who has yet to log in. Bucket is the bucket cookie of the session, -1
// for a browser that has none yet. Tally counts the requests; it may be shared, and may be nil.
func (s Site) Person(login, password string, bucket int, tally *Tally) (*Person, error) {
	if s.Patience == 0 {
		s.Patience = Patience
	}
	if tally == nil {
		tally = NewTally()
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	if bucket >= 0 {
		origin, err := url.Parse(s.origin())
		if err != nil {
			return nil, fmt.Errorf("address %q of host %q: %w", s.Address, s.Host, err)
		}
		jar.SetCookies(origin, []*http.Cookie{{Name: BucketCookie, Value: strconv.Itoa(bucket), Path: "/"}})
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	return &Person{
		site: s, login: login, password: password, bucket: bucket, tally: tally, cookies: jar,
		http: &http.Client{
			Jar:     jar,
			Timeout: s.Patience,
			Transport: &http.Transport{
				DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
					return dialer.DialContext(ctx, network, s.Address)
				},
				MaxIdleConns: 2, IdleConnTimeout: 30 * time.Second,
			},
			// A redirect to the login page is news, not something to follow.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Close gives the connections back.
func (p *Person) Close() { p.http.CloseIdleConnections() }

// Login opens a session, as the login page does.
func (p *Person) Login(ctx context.Context) error {
	var session struct {
		UID *int `json:"uid"`
	}
	err := p.post(ctx, "login", "/web/session/authenticate", map[string]any{
		"db": p.site.Database, "login": p.login, "password": p.password,
	}, &session)
	if err != nil {
		return fmt.Errorf("logging in as %q at %s: %w", p.login, p.site.Host, err)
	}
	if session.UID == nil {
		return fmt.Errorf("logging in as %q at %s: Odoo accepted the password but wants more (two-factor authentication?)", p.login, p.site.Host)
	}
	return nil
}

// Call runs a method of a model, as Odoo's own web client does, and decodes what it returned
// into result unless that is nil. The error is a *Fault when Odoo refused, ErrLoggedOut when
// the session is gone.
func (p *Person) Call(ctx context.Context, model, method string, args []any, kwargs map[string]any, result any) error {
	if args == nil {
		args = []any{}
	}
	if kwargs == nil {
		kwargs = map[string]any{}
	}
	what := model + "." + method
	path := "/web/dataset/call_kw/" + model + "/" + method
	params := map[string]any{"model": model, "method": method, "args": args, "kwargs": kwargs}
	for try := 1; ; try++ {
		err := p.post(ctx, what, path, params, result)
		var fault *Fault
		if !errors.As(err, &fault) || !fault.Retryable() || try == 4 {
			return err
		}
		// Two users met in one row and Odoo's own retries were used up; its transaction is rolled
		// back, so a person simply presses the button again.
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(try) * 300 * time.Millisecond):
		}
	}
}

// post sends one JSON-RPC request and counts it.
func (p *Person) post(ctx context.Context, what, path string, params any, result any) error {
	body, err := json.Marshal(map[string]any{
		"jsonrpc": "2.0", "method": "call", "id": p.sequence.Add(1), "params": params,
	})
	if err != nil {
		return err
	}
	for {
		started := time.Now()
		err = p.exchange(ctx, path, body, result)
		if ctx.Err() != nil && err != nil {
			return err // the person was sent home; not the server's failure
		}
		p.tally.add(Request{What: what, Bucket: p.bucket, Started: started, Took: time.Since(started), Err: err})
		if err == nil {
			return nil
		}
		var away *TurnedAway
		if !errors.As(err, &away) {
			return fmt.Errorf("%s: %w", what, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(away.After):
		}
	}
}

func (p *Person) exchange(ctx context.Context, path string, body []byte, result any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.site.origin()+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := p.http.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if answer.StatusCode/100 == 3 && strings.Contains(answer.Header.Get("Location"), "/web/login") {
		return ErrLoggedOut
	}
	if seconds, err := strconv.Atoi(answer.Header.Get("Retry-After")); err == nil && answer.StatusCode == http.StatusServiceUnavailable && p.site.ComesBack {
		return &TurnedAway{After: time.Duration(min(max(seconds, 1), 30)) * time.Second}
	}
	if answer.StatusCode/100 != 2 {
		return &StatusError{Status: answer.StatusCode, Body: excerpt(content)}
	}
	var envelope struct {
		Result json.RawMessage `json:"result"`
		Error  *fault          `json:"error"`
	}
	if err := json.Unmarshal(content, &envelope); err != nil {
		return fmt.Errorf("answer is not JSON-RPC (%w): %s", err, excerpt(content))
	}
	if envelope.Error != nil {
		return envelope.Error.err()
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(envelope.Result, result); err != nil {
		return fmt.Errorf("unexpected result (%w): %s", err, excerpt(envelope.Result))
	}
	return nil
}
