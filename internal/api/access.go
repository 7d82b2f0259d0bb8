package api

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/waybill-dev/waybill/internal/identity"
	"github.com/waybill-dev/waybill/internal/readings"
	"github.com/waybill-dev/waybill/internal/store"
)

// Recorder keeps who was denied what, and what people did about tokens and approvals.
type Recorder interface {
	Record(ctx context.Context, e identity.Entry)
}

// Wrong tokens of one address are recorded one by one up to so many in a minute; after that they are refused
// with 429, and only the hundredth, two hundredth … is recorded.
const (
	wrongTokens  = 20
	wrongPeriod  = time.Minute
	recordsEvery = 100
)

// asking is one request: who asks, and whether it was decided that they may.
type asking struct {
	person  identity.Person
	address string
	secure  bool           // it came by TLS
	shown   string         // the token's or the cookie's text
	session *store.Session // where a cookie was shown that counts
	until   time.Time      // when what was shown ends; zero: it does not
	decided bool
	url     url.URL                                        // that was asked for
	again   func(context.Context) (identity.Person, error) // who it is by now, for what goes on for long
}

type askingKey struct{}

func askingOf(ctx context.Context) *asking {
	if a, ok := ctx.Value(askingKey{}).(*asking); ok {
		return a
	}
	return &asking{} // nobody: may nothing
}

func personOf(ctx context.Context) identity.Person { return askingOf(ctx).person }

// guard lets only those in who show a token, the data folder's own, which is compared in constant time, or that of a
// user; or a session's cookie. What is open to anybody goes on as nobody.
//
// The body is limited on a copy of the request. The server looks at the body of its own one to see whether a handler
// left some of it unread: with that replaced, it would take the rest for the next request of the connection.
func (b Backend) guard(next http.Handler, open func(*http.Request) bool) http.Handler {
	limited := http.MaxBytesHandler(next, maxBody)
	protection := crossOrigin(b.PublicURL)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store") // what somebody may see is nobody else's, and not for long
		a := &asking{address: addressOf(r), secure: b.isSecure(r)}
		header := r.Header.Get("Authorization")
		a.shown, _ = strings.CutPrefix(header, "Bearer ")
		cookie, _ := r.Cookie(cookieName(a.secure))
		anybody := open(r)
		var err error
		switch {
		case header == "" && cookie != nil:
			a.shown = cookie.Value
			err = b.bySession(r.Context(), a)
		default:
			cookie = nil
			if a.person, err = b.recognise(r.Context(), a.shown); err == nil {
				a.until = a.person.Expires
			}
		}
		var unknown *identity.Unknown
		switch {
		case err != nil && anybody:
			a.person = identity.Person{}
		case errors.As(err, &unknown):
			b.turnAway(w, r, unknown, a, cookie != nil)
			return
		case err != nil:
			refuse(w, http.StatusServiceUnavailable, "Service Unavailable", "It could not be found out who asks: "+err.Error())
			return
		}
		if cookie != nil || anybody {
			if status, why := offence(protection, r); why != "" {
				b.record(r.Context(), identity.Entry{Kind: "session.refused", Actor: a.person.Name, Token: a.person.Token, Reason: r.Method + " " + r.URL.Path + ": " + why, Address: a.address})
				refuse(w, status, http.StatusText(status), "This request is refused: "+why+".")
				return
			}
		}
		a.url, a.again = *r.URL, b.again(a)
		limited.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), askingKey{}, a)))
	})
}

func (b Backend) now() time.Time {
	if b.Sessions != nil {
		return b.Sessions.Now()
	}
	return time.Now()
}

func (b Backend) recognise(ctx context.Context, given string) (identity.Person, error) {
	if given != "" && subtle.ConstantTimeCompare([]byte(given), []byte(b.Token)) == 1 {
		return identity.Local(b.Owner), nil
	}
	if given == "" || b.Tokens == nil {
		return identity.Person{}, &identity.Unknown{Reason: "no token is given that this server knows"}
	}
	return b.Tokens.Find(ctx, given)
}

// turnAway answers who has shown nothing that counts. Without anything nothing is recorded: that is a mistake, not
// a try. Nor is a session that is over; its cookie is taken away.
func (b Backend) turnAway(w http.ResponseWriter, r *http.Request, u *identity.Unknown, a *asking, cookie bool) {
	w.Header().Set("WWW-Authenticate", "Bearer")
	what := "token"
	if cookie {
		gone := sessionCookie(a.secure, "", time.Time{})
		http.SetCookie(w, &gone)
		what = "session"
	}
	if a.shown == "" {
		refuse(w, http.StatusUnauthorized, "Unauthorized", "This API wants a login (POST /api/v1/login), or a bearer token: that of the data folder (keys/token), or a user's own (--token-file or WAYBILL_TOKEN).")
		return
	}
	if cookie && !u.Forged {
		refuse(w, http.StatusUnauthorized, "Unauthorized", "Log in again: "+u.Reason+".")
		return
	}
	wait := b.wrongOne(r.Context(), identity.Entry{Kind: what + ".refused", Actor: u.User, Token: u.Token, Reason: u.Reason, Address: a.address})
	if wait == 0 {
		refuse(w, http.StatusUnauthorized, "Unauthorized", "The "+what+" does not count: "+u.Reason+".")
		return
	}
	w.Header().Set("Retry-After", seconds(wait))
	refuse(w, http.StatusTooManyRequests, "Too Many Requests", manyWrong)
}

// manyWrong is said after too many wrong tokens.
const manyWrong = "Too many wrong tokens came from this address. One that counts is let in at once."

func seconds(d time.Duration) string { return strconv.Itoa(int(d.Seconds()) + 1) }

// wrongOne counts a wrong token or cookie and records it. After too many it says for how long the address is refused.
func (b Backend) wrongOne(ctx context.Context, e identity.Entry) (wait time.Duration) {
	before, next := b.wrong.Count(e.Address, time.Now())
	if before < b.wrong.Most {
		b.record(ctx, e)
		return 0
	}
	if before%recordsEvery == 0 {
		e.Reason = fmt.Sprintf("%d wrong ones within %s; the last: %s", before, b.wrong.Period, e.Reason)
		b.record(ctx, e)
	}
	return max(time.Until(next), time.Second)
}

func refuse(w http.ResponseWriter, status int, title, detail string) {
	writeProblem(w, &huma.ErrorModel{Type: typeOf(status), Title: title, Status: status, Detail: detail})
}

func writeProblem(w http.ResponseWriter, p *huma.ErrorModel) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}

func (b Backend) record(ctx context.Context, e identity.Entry) {
	if b.Recorder != nil {
		b.Recorder.Record(context.WithoutCancel(ctx), e)
	}
}

// does names the operation of a route. Each route has one: without, it answers nobody.
func does(op identity.Operation) func(*huma.Operation) {
	return func(o *huma.Operation) {
		if o.Metadata == nil {
			o.Metadata = map[string]any{}
		}
		o.Metadata["operation"] = op
		if o.Extensions == nil {
			o.Extensions = map[string]any{}
		}
		o.Extensions["x-waybill-operation"] = string(op)
	}
}

// undecided is told of answers that were given without deciding that the person may have them; tests listen.
var undecided = func(route string) {}

// gate decides what needs no more than a role somewhere, and turns away early who has no role that could ever
// do. Where it matters in which environment, or whose it is, the handler decides with may or sees.
func (b Backend) gate(api huma.API) func(huma.Context, func(huma.Context)) {
	return func(c huma.Context, next func(huma.Context)) {
		op, _ := c.Operation().Metadata["operation"].(identity.Operation)
		a := askingOf(c.Context())
		route := c.Operation().Method + " " + c.Operation().Path
		rule, ok := identity.RuleOf(op)
		if !ok {
			_ = huma.WriteErr(api, c, http.StatusForbidden, "nobody may do this: "+route+" names no operation of the table of roles")
			return
		}
		if rule.Reach == identity.Open {
			a.decided = true
			next(c)
			return
		}
		err := a.person.Could(op)
		if rule.Reach == identity.Anywhere {
			err, a.decided = a.person.May(op, identity.Subject{}), true
		}
		if err != nil {
			b.deny(c.Context(), err)
			_ = huma.WriteErr(api, c, http.StatusForbidden, err.Error())
			return
		}
		next(c)
		if status := c.Status(); !a.decided && (status == 0 || status < 300) {
			undecided(route)
		}
	}
}

// may returns an answer that says no, and why, when who asks may not do it.
func (b Backend) may(ctx context.Context, op identity.Operation, s identity.Subject) error {
	a := askingOf(ctx)
	a.decided = true
	if err := a.person.May(op, s); err != nil {
		b.deny(ctx, err)
		return huma.Error403Forbidden(err.Error())
	}
	return nil
}

// sees tells in which environments who asks may see something; what they may not is left out of a list.
func (b Backend) sees(ctx context.Context, op identity.Operation) func(environment string) bool {
	a := askingOf(ctx)
	a.decided = true
	return func(environment string) bool {
		return a.person.May(op, identity.Subject{Environment: environment}) == nil
	}
}

func (b Backend) deny(ctx context.Context, err error) {
	var d *identity.Denied
	if !errors.As(err, &d) {
		return
	}
	a := askingOf(ctx)
	b.record(ctx, identity.Entry{Kind: "denied", Actor: a.person.Name, Token: a.person.Token, Operation: d.Operation,
		Environment: d.Subject.Environment, Subject: d.Subject.Name, Reason: d.Reason, Address: a.address})
}

// madeRelease says whether who asks has made a release.
func (b Backend) madeRelease(ctx context.Context, digest string) (bool, error) {
	if digest == "" {
		return false, nil
	}
	makers, err := b.Store.MakersOf(ctx, digest)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return personOf(ctx).Made(makers), err
}

// aboutPromotion is the subject of an operation on a promotion.
func (b Backend) aboutPromotion(ctx context.Context, p store.Promotion) (identity.Subject, error) {
	own, err := b.madeRelease(ctx, p.Release)
	return identity.Subject{Environment: p.Environment, Name: p.ID, Own: own || p.RequestedBy == personOf(ctx).Name}, err
}

// aboutRelease is the subject of an operation on a release in an environment; what is not known is nobody's own.
func (b Backend) aboutRelease(ctx context.Context, environment, ref string) (identity.Subject, error) {
	s := identity.Subject{Environment: environment, Name: ref}
	r, err := b.Store.Release(ctx, ref)
	if errors.Is(err, store.ErrNotFound) {
		return s, nil
	}
	if err == nil {
		s.Own, err = b.madeRelease(ctx, r.Digest)
	}
	if err != nil {
		return s, problem(err)
	}
	return s, nil
}

// mayWith reads a promotion and decides whether who asks may do something with it.
func (b Backend) mayWith(ctx context.Context, op identity.Operation, id string) (store.Promotion, error) {
	p, err := b.Store.Promotion(ctx, id)
	if err != nil {
		return p, problem(err)
	}
	s, err := b.aboutPromotion(ctx, p)
	if err != nil {
		return p, problem(err)
	}
	return p, b.may(ctx, op, s)
}

// ofPromotion answers with what is to be read of a promotion by those who may see it: once for all who ask for it at the same time. Who
// may is decided for each.
func ofPromotion[T any](ctx context.Context, b Backend, what, id string, read func(context.Context, store.Promotion) (T, error)) (*body[T], error) {
	type found struct {
		promotion store.Promotion
		makers    store.Makers
		value     T
	}
	f, err := readings.Shared(ctx, b.readings, what+" "+id, func(ctx context.Context) (f found, err error) {
		if f.promotion, err = b.Store.Promotion(ctx, id); err != nil {
			return f, err
		}
		if f.makers, err = b.Store.MakersOf(ctx, f.promotion.Release); err != nil && !errors.Is(err, store.ErrNotFound) {
			return f, err
		}
		f.value, err = read(ctx, f.promotion)
		return f, err
	})
	if err != nil {
		return nil, problem(err)
	}
	person := personOf(ctx)
	own := f.promotion.RequestedBy == person.Name || f.promotion.Release != "" && person.Made(f.makers)
	if err := b.may(ctx, identity.PromotionRead, identity.Subject{Environment: f.promotion.Environment, Name: id, Own: own}); err != nil {
		return nil, err
	}
	return reply(f.value, nil)
}
