package estate

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"slices"
	"time"
)

// Trust says whose releases may enter: by which keys signed, where built, from which source, and
// what must be said of them. kind: Trust.
type Trust struct {
	Environments []string   `yaml:"environments" json:"environments,omitempty"` // it holds for these alone; default: for all that no other Trust names
	Keys         []TrustKey `yaml:"keys" json:"keys,omitempty"`                 // public keys that may have signed
	OwnKey       bool       `yaml:"own_key" json:"own_key"`                     // also the key of the installation itself, which signs what is built beside the server; default: where keys is empty
	Builders     []string   `yaml:"builders" json:"builders,omitempty"`         // URIs of builders, as waybill build --builder names them; default: any
	Sources      []string   `yaml:"sources" json:"sources,omitempty"`           // URLs of source repositories; * stands for anything but a slash, /** at the end for everything below; default: any
	Require      []string   `yaml:"require" json:"require"`                     // what must be attested: provenance, checks, sbom, vulnerabilities; default [provenance]
	AllowDirty   bool       `yaml:"allow_dirty" json:"allow_dirty,omitempty"`   // releases built from uncommitted changes too; without it they enter the first environment only

	places map[string]position // of the keys' files, for Load
	file   string
}

// TrustKey is a public key that is trusted, for a time.
type TrustKey struct {
	Name      string `yaml:"name" json:"name"`                       // what people call it
	PublicKey string `yaml:"public_key" json:"public_key"`           // PEM text: ECDSA on the curve P-256; Load puts that of file here
	File      string `yaml:"file" json:"file,omitempty"`             // PEM file with the public key, inside the estate's folder; instead of public_key
	NotBefore string `yaml:"not_before" json:"not_before,omitempty"` // first day on which it counts, like 2027-03-31 (UTC); default: ever since
	NotAfter  string `yaml:"not_after" json:"not_after,omitempty"`   // last day on which it counts (UTC); default: for ever
}

// Window is when the key counts: from its first moment, until the one from which it no longer does.
// A zero time is no limit.
func (k TrustKey) Window() (from, until time.Time) {
	if day, err := time.Parse(dateForm, k.NotBefore); err == nil {
		from = day
	}
	if day, err := time.Parse(dateForm, k.NotAfter); err == nil {
		until = day.AddDate(0, 0, 1)
	}
	return from, until
}

// Public is the key itself.
func (k TrustKey) Public() (*ecdsa.PublicKey, error) { return parsePublicKey(k.PublicKey) }

// TrustFor is what holds for an environment. Where the estate says nothing, the installation's own
// key and provenance are asked for.
func (e *Estate) TrustFor(environment string) Trust {
	found := Trust{}
	(&found).fill(func(string) bool { return false })
	for _, t := range e.Trusts {
		if len(t.Environments) == 0 {
			found = t
		}
	}
	for _, t := range e.Trusts {
		if slices.Contains(t.Environments, environment) {
			found = t
		}
	}
	return found
}

func parsePublicKey(text string) (*ecdsa.PublicKey, error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "PUBLIC KEY" {
		if block != nil && block.Type != "CERTIFICATE" {
			return nil, errors.New("a PEM block -----BEGIN PUBLIC KEY----- is expected; a private key never belongs into an estate")
		}
		return nil, errors.New("a PEM block -----BEGIN PUBLIC KEY----- is expected")
	}
	if more, _ := pem.Decode(rest); more != nil {
		return nil, errors.New("one key is expected; there are several")
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	key, ok := public.(*ecdsa.PublicKey)
	if err != nil || !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("an ECDSA key on the curve P-256 is expected")
	}
	return key, nil
}
