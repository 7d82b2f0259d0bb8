package keys

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"
)

// Files of the signing key inside the folder.
const (
	SigningFile  = "signing.pem" // private, PKCS#8
	publicFile   = "signing.pub"
	retiredFile  = "signing-retired.json"
	rotationLock = ".signing.lock"
)

// maxRetired bounds how many keys are remembered.
const maxRetired = 100

// VerifyingKey is a public key of this installation, with the time until which it counts.
type VerifyingKey struct {
	Public   *ecdsa.PublicKey
	NotAfter time.Time // zero: the key that signs now
}

// MakeSigning makes the key that releases are signed with where there is none (0600), and the file
// with its public half, which may be handed out.
func MakeSigning(dir string) error {
	k := &Keys{dir: dir}
	text, err := k.readOrMake(SigningFile, newSigningKey)
	if err != nil {
		return fmt.Errorf("the signing key: %w", err)
	}
	return writePublic(dir, text)
}

// SigningKeys are the installation's keys in the folder: the one that signs now, then those that were
// replaced and still count, the newest first. Errors are fs.ErrNotExist where there is none.
func SigningKeys(dir string) ([]VerifyingKey, error) {
	text, err := readPrivate(filepath.Join(dir, SigningFile))
	if err != nil {
		return nil, fmt.Errorf("the signing key: %w", err)
	}
	signer, err := parseSigner(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, SigningFile), err)
	}
	current := signer.Public().(*ecdsa.PublicKey)
	list := []VerifyingKey{{Public: current}}
	old, err := readRetired(dir)
	if err != nil {
		return nil, err
	}
	for _, r := range old {
		// A rotation that was cut off has noted the key as retired, and it still signs.
		if !r.public.Equal(current) {
			list = append(list, VerifyingKey{Public: r.public, NotAfter: r.NotAfter})
		}
	}
	return list, nil
}

// RotateSigning puts a new key in the place of the one that signs. Signatures of the old one count
// until the time given; its private half is gone.
func RotateSigning(dir string, until time.Time) error {
	lock := flock.New(filepath.Join(dir, rotationLock))
	locked, err := lock.TryLock()
	if err != nil {
		return fmt.Errorf("rotate the signing key: %w", err)
	}
	if !locked {
		return errors.New("rotate the signing key: another rotation is under way")
	}
	defer func() { _ = lock.Unlock() }()
	keys, err := SigningKeys(dir)
	if err != nil {
		return fmt.Errorf("rotate: %w", err)
	}
	old, err := readRetired(dir)
	if err != nil {
		return err
	}
	public, err := formatPublic(keys[0].Public)
	if err != nil {
		return err
	}
	old = slices.DeleteFunc(old, func(r retired) bool { return r.public.Equal(keys[0].Public) })
	old = append([]retired{{PublicKey: string(public), NotAfter: until.UTC().Truncate(time.Second)}}, old...)
	content, err := json.MarshalIndent(old[:min(len(old), maxRetired)], "", "  ")
	if err != nil {
		return err
	}
	fresh, err := newSigningKey()
	if err != nil {
		return err
	}
	// In this order: whatever is cut off, a key that has signed is known.
	if err := replace(filepath.Join(dir, retiredFile), append(content, '\n'), 0o644); err != nil {
		return err
	}
	if err := replace(filepath.Join(dir, SigningFile), []byte(fresh), 0o600); err != nil {
		return err
	}
	return writePublic(dir, fresh)
}

// NewSigningKey writes a key of its own for another machine: the file given (0600) and the same with
// ".pub". It replaces nothing.
func NewSigningKey(path string) (*ecdsa.PublicKey, error) {
	text, err := newSigningKey()
	if err != nil {
		return nil, err
	}
	signer, err := parseSigner(text)
	if err != nil {
		return nil, err
	}
	public, err := formatPublic(signer.Public())
	if err != nil {
		return nil, err
	}
	for _, file := range []struct {
		path    string
		content string
		mode    fs.FileMode
	}{{path, text, 0o600}, {path + ".pub", string(public), 0o644}} {
		f, err := os.OpenFile(file.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, file.mode)
		if errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("%s is there already; name another file, so that no key is lost", file.path)
		}
		if err != nil {
			return nil, fmt.Errorf("write the key: %w", err)
		}
		_, err = f.WriteString(file.content)
		if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
			return nil, fmt.Errorf("write the key: %w", err)
		}
	}
	return signer.Public().(*ecdsa.PublicKey), nil
}

// SignerOpener opens a key that lies elsewhere: in a key management service, in a token. The signer
// gets SHA-256 digests; its context is that of the command.
type SignerOpener func(ctx context.Context, where *url.URL) (crypto.Signer, error)

var (
	openersLock sync.Mutex
	openers     = map[string]SignerOpener{"file": openFile, "env": openEnvironment}
)

// RegisterSigner adds a scheme for OpenSigner. Whoever links a KMS in does so from an init function.
func RegisterSigner(scheme string, open SignerOpener) {
	openersLock.Lock()
	defer openersLock.Unlock()
	openers[scheme] = open
}

// OpenSigner opens the private key that a URI names: file:PATH (or a path alone), env:NAME for a
// variable that holds the PEM text, or a scheme that was registered.
func OpenSigner(ctx context.Context, uri string) (crypto.Signer, error) {
	where, err := url.Parse(uri)
	if err != nil || where.Scheme == "" {
		where = &url.URL{Scheme: "file", Opaque: uri}
	}
	openersLock.Lock()
	open := openers[where.Scheme]
	var known []string
	for scheme := range openers {
		known = append(known, scheme)
	}
	openersLock.Unlock()
	if open == nil {
		slices.Sort(known)
		return nil, fmt.Errorf("no key can be opened by %s:…; this waybill knows %s", where.Scheme, strings.Join(known, ", "))
	}
	return open(ctx, where)
}

func openFile(_ context.Context, where *url.URL) (crypto.Signer, error) {
	path := where.Opaque
	if path == "" {
		path = where.Path
	}
	text, err := readPrivate(path)
	if err != nil {
		return nil, fmt.Errorf("read the signing key: %w", err)
	}
	signer, err := parseSigner(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return signer, nil
}

func openEnvironment(_ context.Context, where *url.URL) (crypto.Signer, error) {
	text := os.Getenv(where.Opaque)
	if text == "" {
		return nil, fmt.Errorf("the variable %s, which shall hold the signing key, is empty", where.Opaque)
	}
	signer, err := parseSigner(text)
	if err != nil {
		return nil, fmt.Errorf("the variable %s: %w", where.Opaque, err)
	}
	return signer, nil
}

func newSigningKey() (string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", fmt.Errorf("make a signing key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", fmt.Errorf("make a signing key: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), nil
}

// parseSigner never repeats what it was given.
func parseSigner(text string) (crypto.Signer, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("holds no PEM block; expected a private key, PKCS#8: waybill key new FILE makes one")
	}
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY", "ENCRYPTED PRIVATE KEY":
		return nil, errors.New("is encrypted with a passphrase, which cannot be asked for here; use a key of its own: waybill key new FILE")
	default:
		return nil, fmt.Errorf("holds a PEM block %q; expected a private key, PKCS#8", block.Type)
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if err != nil || !ok || ec.Curve != elliptic.P256() {
		return nil, errors.New("holds no ECDSA key on the curve P-256; waybill key new FILE makes one")
	}
	return ec, nil
}

func formatPublic(public crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), err
}

// writePublic keeps the file with the public half up to the private one.
func writePublic(dir, private string) error {
	path := filepath.Join(dir, publicFile)
	signer, err := parseSigner(private)
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Join(dir, SigningFile), err)
	}
	public, err := formatPublic(signer.Public())
	if err != nil {
		return err
	}
	if before, err := os.ReadFile(path); err == nil && bytes.Equal(before, public) {
		return nil
	}
	return replace(path, public, 0o644)
}

// retired is a key that has been replaced, as it is stored.
type retired struct {
	PublicKey string    `json:"public_key"` // PEM
	NotAfter  time.Time `json:"not_after"`

	public *ecdsa.PublicKey
}

func readRetired(dir string) ([]retired, error) {
	path := filepath.Join(dir, retiredFile)
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []retired
	if err := json.Unmarshal(content, &list); err != nil {
		return nil, fmt.Errorf("%s does not parse: %w", path, err)
	}
	for i := range list {
		block, _ := pem.Decode([]byte(list[i].PublicKey))
		if block == nil {
			return nil, fmt.Errorf("%s: key %d is no PEM block", path, i+1)
		}
		public, err := x509.ParsePKIXPublicKey(block.Bytes)
		ec, ok := public.(*ecdsa.PublicKey)
		if err != nil || !ok {
			return nil, fmt.Errorf("%s: key %d is no ECDSA public key", path, i+1)
		}
		list[i].public = ec
	}
	return list, nil
}

// replace writes a file as a whole or not at all.
func replace(path string, content []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return missing(path, err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(content)
	if err := errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(f.Name(), path)
}
