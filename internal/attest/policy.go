package attest

import (
	"crypto/ecdsa"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Policy says who and what is trusted.
type Policy struct {
	Keys       []Key
	Builders   []string // URIs; empty: any, as the key vouches for it
	Sources    []string // patterns, see Matches; empty: any
	Require    []string // predicate types without which a release is refused
	AllowDirty bool     // releases of uncommitted changes too
	// Now is the verifier's time. A signature carries no proof of when it was made, so a key counts
	// while it is valid now, whatever the signer says of then.
	Now time.Time
}

// Attestation is one statement about an image, and whether it holds.
type Attestation struct {
	Digest  string   `json:"digest"` // of the attestation's manifest
	Type    string   `json:"type"`   // of the predicate
	KeyID   string   `json:"key_id,omitempty"`
	KeyName string   `json:"key,omitempty"` // as the policy calls it; empty: not trusted
	Subject string   `json:"subject,omitempty"`
	Builder string   `json:"builder,omitempty"` // provenance only
	Source  string   `json:"source,omitempty"`  // provenance only
	Commit  string   `json:"commit,omitempty"`  // provenance only
	OK      bool     `json:"ok"`
	Refused *Refused `json:"refused,omitempty"`

	predicate []byte
}

// Predicate is what was said, as JSON; only where the attestation holds.
func (a Attestation) Predicate() []byte {
	if !a.OK {
		return nil
	}
	return a.predicate
}

// Matches says whether a source is of a pattern: "*" stands for anything but a slash, and "/**" at
// the end for everything below.
func Matches(pattern, source string) bool {
	if prefix, deep := strings.CutSuffix(pattern, "/**"); deep {
		n := strings.Count(prefix, "/") + 1
		parts := strings.Split(source, "/")
		if len(parts) <= n || slices.ContainsFunc(parts[n:], func(part string) bool { return part == "" || part == "." || part == ".." }) {
			return false
		}
		pattern, source = prefix, strings.Join(parts[:n], "/")
	}
	ok, err := path.Match(pattern, source)
	return err == nil && ok
}

// judge fills in what an attestation says and whether the policy trusts it. subject is the image.
func (p Policy) judge(a *Attestation, bundle []byte, subject string) {
	a.Refused = p.weigh(a, bundle, subject)
	a.OK = a.Refused == nil
}

func (p Policy) weigh(a *Attestation, bundle []byte, subject string) *Refused {
	held, err := openBundle(bundle)
	if err != nil {
		return refuse(Unreadable, buildAgain, "attestation %.19s: %v", a.Digest, err)
	}
	a.KeyID = held.keyID
	// What the payload says is shown even where nobody vouches for it, but decides nothing then.
	s, malformed := parseStatement(held.payload)
	if malformed == nil {
		a.Type, a.Subject, a.predicate = s.PredicateType, s.digests(), s.Predicate
	}
	if refused := p.signature(a, held); refused != nil {
		return refused
	}
	if malformed != nil {
		return refuse(Unreadable, buildAgain, "attestation %.19s: %v", a.Digest, malformed)
	}
	if !s.about(subject) {
		return refuse(OtherDigest, buildAgain, "the %s is about another image: %s, not %s", ShortName(a.Type), s.digests(), subject)
	}
	switch s.PredicateType {
	case Provenance:
		return p.origin(a, s.Predicate)
	case Checks:
		if err := checksPassed(s.Predicate); err != nil {
			return refuse(ChecksFailed, "mend what the checks found, commit, and build anew", "%v", err)
		}
	}
	return nil
}

// signature finds the trusted key that signed. The key that the bundle names is only believed for
// telling an altered payload from a foreign one.
func (p Policy) signature(a *Attestation, held *envelope) *Refused {
	what := ShortName(a.Type)
	var outside *Refused
	for _, key := range p.Keys {
		if !held.signedBy(key.Public) {
			continue
		}
		a.KeyID, a.KeyName = key.ID(), key.Name
		switch {
		case !key.NotBefore.IsZero() && p.Now.Before(key.NotBefore):
			outside = refuse(KeyNotYet, "wait until then, or set the key's not_before earlier",
				"the %s is signed with key %s, which is valid from %s only", what, key.label(), key.NotBefore.Format(time.RFC3339))
		case !key.NotAfter.IsZero() && !p.Now.Before(key.NotAfter):
			outside = refuse(KeyExpired, signAgain+"; the digest stays, the new key signs it",
				"the %s is signed with key %s, which was valid until %s only", what, key.label(), key.NotAfter.Format(time.RFC3339))
		default:
			return nil
		}
	}
	if outside != nil {
		return outside
	}
	for _, key := range p.Keys {
		if key.ID() == held.keyID {
			return refuse(Altered, buildAgain, "the %s names key %s, and its signature does not fit: payload or signature was altered", what, key.label())
		}
	}
	return refuse(UnknownKey, signAgain+", or trust the key in the estate (kind: Trust)",
		"the %s is signed with key %.23s, which is not trusted here; trusted: %s", what, orUnknown(held.keyID), p.keyNames())
}

// orUnknown names a key that the bundle does not name: cosign, for one, leaves it out.
func orUnknown(id string) string {
	if id == "" {
		return "unknown"
	}
	return id
}

func (k Key) label() string {
	if k.Name == "" {
		return k.ID()[:23]
	}
	return fmt.Sprintf("%q (%.23s)", k.Name, k.ID())
}

func (p Policy) keyNames() string {
	var list []string
	for _, k := range p.Keys {
		list = append(list, k.label())
	}
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

// origin holds builder and source against the policy.
func (p Policy) origin(a *Attestation, predicate []byte) *Refused {
	said, err := parseProvenance(predicate)
	if err != nil {
		return refuse(Unreadable, "build the release with waybill build", "%v", err)
	}
	asked := said.BuildDefinition.ExternalParameters
	a.Builder, a.Source, a.Commit = said.RunDetails.Builder.ID, asked.Source, asked.Commit
	switch {
	case len(p.Builders) > 0 && !slices.Contains(p.Builders, a.Builder):
		return refuse(UnknownBuilder, "build it where it is allowed, or add the builder in the estate (kind: Trust)",
			"builder %s is not trusted here; trusted: %s", a.Builder, strings.Join(p.Builders, ", "))
	case len(p.Sources) > 0 && !slices.ContainsFunc(p.Sources, func(pattern string) bool { return Matches(pattern, a.Source) }):
		return refuse(UnknownSource, "build it from an allowed source, or add the source in the estate (kind: Trust)",
			"source %s is not allowed here; allowed: %s", a.Source, strings.Join(p.Sources, ", "))
	case asked.Dirty && !p.AllowDirty:
		return refuse(Dirty, "commit the changes and build again", "it was built from uncommitted changes on commit %.12s: nobody can build or read it again", a.Commit)
	}
	return nil
}

// PublicKeys are keys without names and limits.
func PublicKeys(keys ...*ecdsa.PublicKey) []Key {
	var list []Key
	for _, k := range keys {
		list = append(list, Key{Public: k})
	}
	return list
}

// typeOf is the predicate type that an attestation's index entry claims.
func typeOf(d v1.Descriptor) string { return d.Annotations[predicateAnnotation] }
