package identity

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/store"
)

// How long a token holds: where nobody says, and at most.
const (
	DefaultLife = 90 * 24 * time.Hour
	LongestLife = 366 * 24 * time.Hour
)

// A token is "wbt_", ten characters that name it, "_", and 256 random bits in hex. What names it is no
// secret: it finds the row, whose hash is then compared in constant time.
var tokenRule = regexp.MustCompile(`^wbt_([a-z2-7]{10})_([0-9a-f]{64})$`)

// newToken makes a token; only the hash of its text is kept. A plain SHA-256 will do: there is no
// dictionary of 256 random bits, so there is nothing that a slow hash would slow down.
func newToken() (id, text string, hash []byte) { return newSecret("wbt") }

func hashOf(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}

// ErrBad is in the error of a request that makes no sense as it stands.
var ErrBad = errors.New("bad request")

// Wish is what a new token shall be.
type Wish struct {
	User         string
	Label        string   // what people call it
	Roles        []Role   // empty: all that the user has, now and later
	Environments []string // empty: all of the user's
	Life         time.Duration
}

// Tokens makes, finds and revokes tokens.
type Tokens struct {
	Store  *store.Store
	Access func(context.Context) (*estate.Access, error) // what the estate declares today
	Now    func() time.Time
}

// Create makes a token and returns its text, which is kept nowhere. by is whoever asks: what they make for themselves
// holds no longer and reaches no further than the token that they show.
func (t Tokens) Create(ctx context.Context, by Person, w Wish) (store.Token, string, error) {
	access, err := t.Access(ctx)
	if err != nil {
		return store.Token{}, "", err
	}
	bad := func(format string, args ...any) (store.Token, string, error) {
		return store.Token{}, "", fmt.Errorf("%w: %s", ErrBad, fmt.Sprintf(format, args...))
	}
	user, ok := PersonOf(access, w.User)
	if !ok {
		return bad("the estate has no user %s; add one to its kind: Access", w.User)
	}
	if len(w.Label) > 100 || strings.ContainsFunc(w.Label, func(r rune) bool { return r < ' ' }) {
		return bad("the label is one line of at most 100 characters")
	}
	if w.Life == 0 {
		w.Life = DefaultLife
	}
	if w.Life < time.Minute || w.Life > LongestLife {
		return bad("a token holds from 1 minute to %d days", LongestLife/(24*time.Hour))
	}
	expires := t.Now().Add(w.Life)
	parent := ""
	if by.Name == user.Name {
		user, parent = by, by.Token
		if !by.Expires.IsZero() && expires.After(by.Expires) {
			expires = by.Expires
		}
	}
	slices.Sort(w.Roles)
	slices.Sort(w.Environments)
	w.Roles, w.Environments = slices.Compact(w.Roles), slices.Compact(w.Environments)
	for _, role := range w.Roles {
		if !slices.Contains(estate.Roles, role) {
			return bad("there is no role %s; there are %s", role, orList(estate.Roles))
		}
		if len(user.Limited([]Role{role}, w.Environments).Grants) == 0 {
			return bad("%s has no role %s%s, and a token can never do more than its user", w.User, role, inAny(w.Environments))
		}
	}
	for _, env := range w.Environments {
		if len(user.Limited(w.Roles, []string{env}).Grants) == 0 {
			return bad("%s has no such role in %s, and a token can never do more than its user", w.User, env)
		}
	}
	if parent != "" { // what limits the token that was shown limits the new one, whatever the estate gives later
		shown, err := t.Store.Token(ctx, parent)
		if err != nil {
			return store.Token{}, "", err
		}
		if len(w.Roles) == 0 {
			w.Roles = rolesOf(shown.Roles)
		}
		if len(w.Environments) == 0 {
			w.Environments = shown.Environments
		}
	}
	id, text, hash := newToken()
	kept := store.Token{ID: id, User: w.User, Label: w.Label, Hash: hash, Roles: wordsOf(w.Roles), Environments: append([]string{}, w.Environments...),
		Parent: parent, CreatedBy: by.Name, CreatedAt: t.Now(), ExpiresAt: expires}
	return kept, text, t.Store.PutToken(ctx, kept)
}

func inAny(environments []string) string {
	if len(environments) == 0 {
		return ""
	}
	return " in " + strings.Join(environments, " or ")
}

func rolesOf(list []string) []Role {
	out := make([]Role, len(list))
	for i, s := range list {
		out[i] = Role(s)
	}
	return out
}

func wordsOf(list []Role) []string {
	out := make([]string, len(list))
	for i, r := range list {
		out[i] = string(r)
	}
	return out
}

// Unknown says that a token or a session does not count, and why; what it tells the person who shows it is in Error.
type Unknown struct {
	Token  string // its ID, where it has one
	User   string // whose it is, where that is known
	Reason string
	Forged bool // a cookie that was never given here
}

func (u *Unknown) Error() string { return u.Reason }

// Find says whose a token is and what it lets them do today. An *Unknown says that it does not count; any
// other error that it could not be found out.
func (t Tokens) Find(ctx context.Context, text string) (Person, error) {
	parts := tokenRule.FindStringSubmatch(text)
	if parts == nil {
		return Person{}, &Unknown{Reason: "this is no token of this installation"}
	}
	kept, err := t.Store.Token(ctx, parts[1])
	if errors.Is(err, store.ErrNotFound) {
		return Person{}, &Unknown{Reason: "this is no token of this installation"}
	}
	if err != nil {
		return Person{}, err
	}
	if subtle.ConstantTimeCompare(hashOf(text), kept.Hash) != 1 {
		return Person{}, &Unknown{Token: kept.ID, Reason: "this is no token of this installation"}
	}
	return t.stands(ctx, kept)
}

// stands says whose a token is that was found, and what it lets them do today.
func (t Tokens) stands(ctx context.Context, kept store.Token) (Person, error) {
	unknown := func(format string, args ...any) (Person, error) {
		return Person{}, &Unknown{Token: kept.ID, User: kept.User, Reason: fmt.Sprintf("token %s of %s ", kept.ID, kept.User) + fmt.Sprintf(format, args...)}
	}
	if kept.RevokedAt != nil {
		return unknown("was revoked at %s by %s; ask an admin for another one", kept.RevokedAt.UTC().Format(time.RFC3339), kept.RevokedBy)
	}
	if !t.Now().Before(kept.ExpiresAt) {
		return unknown("has expired at %s; ask an admin for another one, or make the next one in time: waybill token create %s", kept.ExpiresAt.UTC().Format(time.RFC3339), kept.User)
	}
	access, err := t.Access(ctx)
	if err != nil {
		return Person{}, fmt.Errorf("read who may do what: %w", err)
	}
	person, ok := PersonOf(access, kept.User)
	if !ok {
		return unknown("does not count: the estate no longer has this user")
	}
	person = person.Limited(rolesOf(kept.Roles), kept.Environments)
	person.Token, person.Expires = kept.ID, kept.ExpiresAt
	if today := t.Now().UTC(); kept.UsedOn == nil || kept.UsedOn.Format(time.DateOnly) != today.Format(time.DateOnly) {
		return person, t.Store.TouchToken(ctx, kept.ID, today)
	}
	return person, nil
}
