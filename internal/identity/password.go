package identity

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/store"
)

// How long a password is, in characters.
const (
	ShortestPassword = 12
	LongestPassword  = 200
)

// Wrong passwords are answered so often within a period; after that nothing is compared any more, for an address
// with whatever name, and for a name from whatever address that it has not been used from before.
const (
	wrongByAddress = 20
	wrongByName    = 10
	wrongPeriod    = 10 * time.Minute
)

// hashTurns bounds the memory and the processors that logins take together; whoever waits longer for a turn than
// hashWait is asked to come again.
const (
	hashTurns = 2
	hashWait  = 5 * time.Second
)

// cost is what one guess takes: more than the least that OWASP's password storage cheat sheet asks of argon2id
// (19 MiB, two passes, one thread; 2025).
var cost = hashCost{memory: 32 << 10, passes: 3, threads: 1}

type hashCost struct {
	memory  uint32 // KiB
	passes  uint32
	threads uint8
}

// mostHashed bounds the cost of a hash that is read: one that was written into the store by somebody else must not
// take the server's memory.
var mostHashed = hashCost{memory: 256 << 10, passes: 16, threads: 8}

const keyLength = 32

// hashPassword makes the text that is kept: $argon2id$v=19$m=…,t=…,p=…$salt$key, as RFC 9106's reference code writes it.
func hashPassword(password string) string {
	salt := make([]byte, 16)
	_, _ = rand.Read(salt)
	return writeHash(cost, salt, argon2.IDKey([]byte(password), salt, cost.passes, cost.memory, cost.threads, keyLength))
}

func writeHash(c hashCost, salt, key []byte) string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, c.memory, c.passes, c.threads,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(key))
}

func readHash(text string) (c hashCost, salt, key []byte, err error) {
	bad := func(why string) (hashCost, []byte, []byte, error) {
		return c, nil, nil, errors.New("the hash of a password in the store " + why + "; set the password again")
	}
	parts := strings.Split(text, "$")
	var version int
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return bad("is not of argon2id")
	}
	if _, err := fmt.Sscanf(parts[2], "v=%d", &version); err != nil || version != argon2.Version {
		return bad("is of another version of argon2id")
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &c.memory, &c.passes, &c.threads); err != nil || c.memory < 8 || c.passes < 1 || c.threads < 1 ||
		c.memory > mostHashed.memory || c.passes > mostHashed.passes || c.threads > mostHashed.threads {
		return bad("names a cost that cannot be")
	}
	if salt, err = base64.RawStdEncoding.DecodeString(parts[4]); err != nil || len(salt) < 8 {
		return bad("has no salt")
	}
	if key, err = base64.RawStdEncoding.DecodeString(parts[5]); err != nil || len(key) != keyLength {
		return bad("has no key")
	}
	return c, salt, key, nil
}

// Held says that too many wrong passwords came, and when the next one is compared.
type Held struct {
	Until time.Time
	Over  int // how many more than that came before
}

func (h *Held) Error() string { return "too many wrong passwords came" }

// ErrBusy is returned when too many passwords are being compared at once.
var ErrBusy = errors.New("too many people are logging in at once")

// WrongPassword is what is said whichever of the two is wrong, and whether there is such a user or not.
const WrongPassword = "the name or the password is wrong"

// Passwords sets and compares the passwords of the estate's users. They are kept in the store, as hashes.
type Passwords struct {
	Store  *store.Store
	Access func(context.Context) (*estate.Access, error) // what the estate declares today
	Now    func() time.Time

	once      sync.Once
	turns     chan struct{}
	nobodys   string // a hash that no password has, compared where there is none
	byAddress Failures
	byName    Failures
}

func (p *Passwords) begin() {
	p.once.Do(func() {
		p.turns = make(chan struct{}, hashTurns)
		salt, key := make([]byte, 16), make([]byte, keyLength)
		_, _ = rand.Read(salt)
		_, _ = rand.Read(key)
		p.nobodys = writeHash(cost, salt, key)
		p.byAddress = Failures{Most: wrongByAddress, Period: wrongPeriod}
		p.byName = Failures{Most: wrongByName, Period: wrongPeriod}
	})
}

// Check says who somebody is by name and password. A *Held says that it was not compared, an *Unknown that it is
// wrong; its User is set where the estate has one of this name. Whether there is such a user changes neither the
// answer nor, but for what a query takes, its time.
func (p *Passwords) Check(ctx context.Context, name, password, address string) (Person, error) {
	p.begin()
	done, err := p.admit(ctx, name, address)
	if err != nil {
		return Person{}, err
	}
	access, err := p.Access(ctx)
	if err != nil {
		return Person{}, fmt.Errorf("read who may do what: %w", err)
	}
	person, declared := PersonOf(access, name)
	kept, err := p.Store.Password(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		kept, declared = store.Password{Hash: p.nobodys}, false
	} else if err != nil {
		return Person{}, err
	}
	same, old, err := p.compare(ctx, kept.Hash, password)
	if err != nil {
		done() // nothing was compared
		return Person{}, err
	}
	if !same || !declared {
		return Person{}, &Unknown{User: person.Name, Reason: WrongPassword}
	}
	done()
	if old {
		if err := p.Store.RehashPassword(ctx, name, kept.Hash, hashPassword(password)); err != nil {
			return Person{}, err
		}
	}
	return person, nil
}

// admit counts a try before anything is compared, so that many at once are counted too; done takes it back.
func (p *Passwords) admit(ctx context.Context, name, address string) (done func(), err error) {
	now := p.Now()
	if before, next := p.byAddress.Count(address, now); before >= p.byAddress.Most {
		return nil, &Held{next, before - p.byAddress.Most}
	}
	if before, next := p.byName.Count(name, now); before >= p.byName.Most {
		known, err := p.Store.LoggedInFrom(ctx, name, address) // nobody keeps somebody else out of where they work
		if err != nil {
			return nil, err
		}
		if !known {
			return nil, &Held{next, before - p.byName.Most}
		}
	}
	return func() {
		p.byAddress.TakeBack(address)
		p.byName.TakeBack(name)
	}, nil
}

// compare waits for a turn. old says that the hash was made at another cost than one would be today.
func (p *Passwords) compare(ctx context.Context, hash, password string) (same, old bool, err error) {
	c, salt, key, err := readHash(hash)
	if err != nil {
		return false, false, err
	}
	end, err := p.turn(ctx)
	if err != nil {
		return false, false, err
	}
	defer end()
	given := argon2.IDKey([]byte(password), salt, c.passes, c.memory, c.threads, keyLength)
	return subtle.ConstantTimeCompare(given, key) == 1, c != cost, nil
}

func (p *Passwords) turn(ctx context.Context) (end func(), err error) {
	wait := time.NewTimer(hashWait)
	defer wait.Stop()
	select {
	case p.turns <- struct{}{}:
		return func() { <-p.turns }, nil
	case <-wait.C:
		return nil, ErrBusy
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Set gives a user of the estate a password and ends the user's sessions. An ErrBad says what is wrong with it.
func (p *Passwords) Set(ctx context.Context, by Person, name, password string) error {
	p.begin()
	access, err := p.Access(ctx)
	if err != nil {
		return err
	}
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrBad, fmt.Sprintf(format, args...))
	}
	if _, ok := access.User(name); !ok {
		return bad("the estate has no user %s; add one to its kind: Access", name)
	}
	switch length := utf8.RuneCountInString(password); {
	case !utf8.ValidString(password):
		return bad("the password is no text in UTF-8")
	case length < ShortestPassword:
		return bad("the password has %d characters; it takes %d, and several words are easier to remember than signs", length, ShortestPassword)
	case length > LongestPassword:
		return bad("the password has %d characters; %d are possible", length, LongestPassword)
	case strings.Contains(strings.ToLower(password), strings.ToLower(name)) && length < ShortestPassword+len(name):
		return bad("the password is little more than the name")
	case strings.Count(password, password[:1]) == len(password):
		return bad("the password is one sign again and again")
	}
	end, err := p.turn(ctx)
	if err != nil {
		return err
	}
	hash := hashPassword(password)
	end()
	return p.Store.SetPassword(ctx, store.Password{User: name, Hash: hash, SetBy: by.Name, SetAt: p.Now()})
}

// Has says whether a user has a password.
func (p *Passwords) Has(ctx context.Context, name string) (bool, error) {
	_, err := p.Store.Password(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
