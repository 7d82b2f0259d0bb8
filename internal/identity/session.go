package identity

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/store"
)

// How long a session holds: without a request, and at most.
const (
	SessionIdle = 8 * time.Hour
	SessionLife = 24 * time.Hour
)

// seenEvery is how exactly it is kept when a session was last used.
const seenEvery = time.Minute

// sessionsKept is for how long a session is remembered after it is over: a cookie that comes late is told why.
const sessionsKept = 30 * 24 * time.Hour

// The ways in.
const (
	ByPassword = "password"
	ByToken    = "token"
	ByOIDC     = "oidc"
)

// A cookie is "wbs_", ten characters that name the session, "_", and 256 random bits in hex; like a token.
var sessionRule = regexp.MustCompile(`^wbs_([a-z2-7]{10})_([0-9a-f]{64})$`)

func newSecret(prefix string) (id, text string, hash []byte) {
	var name [8]byte
	var secret [32]byte
	_, _ = rand.Read(name[:]) // it never fails; the runtime would end the process
	_, _ = rand.Read(secret[:])
	id = strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(name[:]))[:10]
	text = prefix + "_" + id + "_" + hex.EncodeToString(secret[:])
	return id, text, hashOf(text)
}

// Sessions opens, finds and ends the sessions of browsers.
type Sessions struct {
	Store  *store.Store
	Tokens *Tokens
	Access func(context.Context) (*estate.Access, error) // what the estate declares today
	Owner  string                                        // name on this machine of whoever holds the data folder's token
	Token  string                                        // of the data folder
	Now    func() time.Time
}

// Open makes a session for somebody who has shown who they are, and returns the cookie's text, which is kept nowhere.
func (s Sessions) Open(ctx context.Context, p Person, method, address string) (store.Session, string, error) {
	standing, _, err := s.standing(ctx, p.Name)
	if err != nil {
		return store.Session{}, "", err
	}
	now := s.Now()
	expires := now.Add(SessionLife)
	if !p.Expires.IsZero() && p.Expires.Before(expires) {
		expires = p.Expires
	}
	id, text, hash := newSecret("wbs")
	kept := store.Session{ID: id, Hash: hash, User: p.Name, Method: method, Token: p.Token, Standing: standing, Address: address,
		CreatedAt: now, SeenAt: now, ExpiresAt: expires}
	return kept, text, s.Store.PutSession(ctx, kept, now.Add(-sessionsKept))
}

// standing is who somebody is by the estate, and a hash of what it says about them: when that changes, they log in again. For the data
// folder's owner it is the token's.
func (s Sessions) standing(ctx context.Context, name string) ([]byte, Person, error) {
	if owner := Local(s.Owner); name == owner.Name {
		return hashOf("owner " + s.Token), owner, nil
	}
	access, err := s.Access(ctx)
	if err != nil {
		return nil, Person{}, fmt.Errorf("read who may do what: %w", err)
	}
	person, ok := PersonOf(access, name)
	if !ok {
		return nil, person, &Unknown{User: name, Reason: "the estate has no user " + name}
	}
	said, err := json.Marshal(person)
	if err != nil {
		return nil, person, err
	}
	sum := sha256.Sum256(said)
	return sum[:], person, nil
}

// Find is Look for a request: the session is in use.
func (s Sessions) Find(ctx context.Context, text string) (Person, store.Session, error) {
	person, kept, err := s.Look(ctx, text)
	if now := s.Now(); err == nil && now.Sub(kept.SeenAt) >= seenEvery {
		err = s.Store.TouchSession(ctx, kept.ID, now)
	}
	return person, kept, err
}

// Look says whose a cookie is and what it lets them do today. An *Unknown says that it does not count; any other
// error that it could not be found out.
func (s Sessions) Look(ctx context.Context, text string) (Person, store.Session, error) {
	var none store.Session
	parts := sessionRule.FindStringSubmatch(text)
	if parts == nil {
		return Person{}, none, &Unknown{Forged: true, Reason: "this is no session of this installation"}
	}
	kept, err := s.Store.Session(ctx, parts[1])
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return Person{}, none, err
	}
	if err != nil || subtle.ConstantTimeCompare(hashOf(text), kept.Hash) != 1 {
		return Person{}, none, &Unknown{Forged: true, Reason: "this is no session of this installation"}
	}
	over := func(why string) (Person, store.Session, error) {
		return Person{}, kept, &Unknown{User: kept.User, Reason: "the session is over: " + why}
	}
	now := s.Now()
	switch {
	case kept.EndedAt != nil:
		return over(kept.EndedWhy)
	case !now.Before(kept.ExpiresAt):
		return over("it holds for " + inHours(kept.ExpiresAt.Sub(kept.CreatedAt)) + " at most")
	case !now.Before(kept.SeenAt.Add(SessionIdle)):
		return over("nothing was asked for " + inHours(SessionIdle))
	}
	person, err := s.person(ctx, kept)
	var unknown *Unknown
	if errors.As(err, &unknown) { // for good: it does not come back when the estate is put back
		if _, err := s.Store.EndSession(ctx, kept.ID, unknown.Reason, now); err != nil {
			return Person{}, kept, err
		}
		return over(unknown.Reason)
	}
	return person, kept, err
}

// inHours says a time as people do.
func inHours(d time.Duration) string {
	if d < 2*time.Hour {
		return d.Round(time.Minute).String()
	}
	return fmt.Sprintf("%d hours", int(d.Hours()))
}

func (s Sessions) person(ctx context.Context, kept store.Session) (Person, error) {
	standing, person, err := s.standing(ctx, kept.User)
	if err != nil {
		return Person{}, err
	}
	owner := kept.User == Local(s.Owner).Name
	if subtle.ConstantTimeCompare(standing, kept.Standing) != 1 {
		if owner {
			return Person{}, &Unknown{Reason: "the data folder's token is another one now"}
		}
		return Person{}, &Unknown{Reason: "what the estate says about " + kept.User + " has changed"}
	}
	if owner || kept.Token == "" {
		return person, nil
	}
	token, err := s.Store.Token(ctx, kept.Token)
	if errors.Is(err, store.ErrNotFound) {
		return Person{}, &Unknown{Reason: "its token is gone"}
	}
	if err != nil {
		return Person{}, err
	}
	return s.Tokens.stands(ctx, token)
}

// End ends a session; it says whether it was open until now.
func (s Sessions) End(ctx context.Context, id, why string) (bool, error) {
	return s.Store.EndSession(ctx, id, why, s.Now())
}
