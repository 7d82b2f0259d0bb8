package attest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
)

// Key is a public key that is trusted, for a time.
type Key struct {
	Name      string
	Public    *ecdsa.PublicKey
	NotBefore time.Time // zero: always
	NotAfter  time.Time // zero: for ever
}

// ID is the key's fingerprint as ssh-keygen shows it, "SHA256:…". DSSE's library gives a key that
// name where nobody gives it another, and skips signatures that carry a different one.
func (k Key) ID() string {
	id, err := KeyID(k.Public)
	if err != nil {
		return ""
	}
	return id
}

// KeyID is the fingerprint of a public key, see Key.ID; an error says that it is not of the kind that is used here.
func KeyID(public crypto.PublicKey) (string, error) {
	if _, err := marshalPublic(public); err != nil {
		return "", err
	}
	return dsse.SHA256KeyID(public)
}

// ParsePublicKey reads a PEM file with one ECDSA P-256 public key.
func ParsePublicKey(text []byte) (*ecdsa.PublicKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PUBLIC KEY" {
		return nil, errors.New("no PEM block -----BEGIN PUBLIC KEY----- is there")
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the public key does not parse: %w", err)
	}
	if _, err := marshalPublic(public); err != nil {
		return nil, err
	}
	return public.(*ecdsa.PublicKey), nil
}

// FormatPublicKey is the PEM form that cosign and openssl read too.
func FormatPublicKey(public crypto.PublicKey) ([]byte, error) {
	der, err := marshalPublic(public)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

func marshalPublic(public crypto.PublicKey) ([]byte, error) {
	key, ok := public.(*ecdsa.PublicKey)
	if !ok || key == nil || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("the key is a %T; expected ECDSA on the curve P-256", public)
	}
	return x509.MarshalPKIXPublicKey(key)
}
