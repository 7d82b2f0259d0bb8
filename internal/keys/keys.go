// Package keys holds the secrets of one Waybill installation in one folder: the master secret
// that every password is derived from, this machine's age identity, the recipients that
// checkpoints are encrypted to, and the API's token. Nothing here is ever logged, and nothing
// here knows what the secrets are used for.
package keys

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"filippo.io/age"
)

// Files inside the folder.
const (
	masterFile     = "master.key"
	identityFile   = "identity.txt"
	recipientsFile = "recipients.txt"
	tokenFile      = "token"
)

// Keys are the secrets of one installation. It is safe for concurrent use.
type Keys struct {
	dir      string
	master   []byte
	identity *age.X25519Identity
	token    string
	offline  []age.Recipient
	fresh    *age.X25519Identity // the offline identity made by this Open, until it is handed over
}

// Open reads the keys in dir and makes those that do not exist yet (folder 0700, files 0600,
// each written atomically). Keys that exist but cannot be read are an error, never replaced:
// passwords and checkpoints depend on them. A folder that has all of them is not written to, so that
// it may be mounted read-only; in such a one, what is missing is an error.
func Open(dir string) (*Keys, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder for keys: %w", err)
	}
	k := &Keys{dir: dir}
	for _, load := range []func() error{k.loadMaster, k.loadIdentity, k.loadToken, k.loadRecipients} {
		if err := load(); err != nil {
			return nil, fmt.Errorf("open the keys in %s: %w", dir, err)
		}
	}
	return k, nil
}

// Password is the password of a database role in an environment: 64 hex digits, always the same.
func (k *Keys) Password(env, role string) string {
	return hex.EncodeToString(k.derive("password", env, role))
}

// BridgeKey is the key of an environment that Waybill's calls to the bridge are signed with: 64 hex
// digits as bytes, so that it can stand in a text file. Each version, from 0, is another key, which tells nothing of the others.
func (k *Keys) BridgeKey(env string, version int) []byte {
	name := ""
	if version > 0 {
		name = strconv.Itoa(version)
	}
	return []byte(hex.EncodeToString(k.derive("bridge", env, name)))
}

// Derive is a key of 32 bytes for any other purpose, for example a session cookie's signature.
// Purposes "password" and "bridge" belong to the methods of those names.
func (k *Keys) Derive(purpose, name string) []byte {
	return k.derive("derived", purpose, name)
}

// Token is the API token of this installation: 64 hex digits.
func (k *Keys) Token() string { return k.token }

// Identity is this machine's age identity, which opens its checkpoints.
func (k *Keys) Identity() age.Identity { return k.identity }

// Recipients are those that a checkpoint is encrypted to: this machine and every line of
// recipients.txt (at least one, kept off the machine).
func (k *Keys) Recipients() []age.Recipient {
	return append([]age.Recipient{k.identity.Recipient()}, k.offline...)
}

// NewOfflineIdentity hands out, exactly once, the offline identity that Open had to generate because
// recipients.txt named nobody: the text of an age identity file that a person must take off
// this machine. ok is false when there is nothing (more) to hand out. It is stored nowhere until the
// caller stores it: until then checkpoints can only be opened with this machine's own key.
func (k *Keys) NewOfflineIdentity() (identity string, ok bool) {
	if k.fresh == nil {
		return "", false
	}
	id := k.fresh
	k.fresh = nil
	return fmt.Sprintf("# Waybill offline key: opens every checkpoint of this installation. Keep it off the machine.\n# public key: %s\n%s\n",
		id.Recipient(), id), true
}

// LogValue keeps the keys out of logs.
func (k *Keys) LogValue() slog.Value { return slog.StringValue("keys in " + k.dir) }

// String keeps the keys out of messages.
func (k *Keys) String() string { return "keys in " + k.dir }

// GoString keeps the keys out of %#v.
func (k *Keys) GoString() string { return k.String() }

// derive separates purposes and names by length, so that ("a","bc") and ("ab","c") differ.
func (k *Keys) derive(purpose, a, b string) []byte {
	mac := hmac.New(sha256.New, k.master)
	fmt.Fprintf(mac, "waybill-v1\n%d:%s%d:%s%d:%s", len(purpose), purpose, len(a), a, len(b), b)
	return mac.Sum(nil)
}

func (k *Keys) loadMaster() error {
	text, err := k.readOrMake(masterFile, func() (string, error) { return randomHex(), nil })
	if err != nil {
		return err
	}
	raw, err := hex.DecodeString(strings.TrimSpace(text))
	if err != nil || len(raw) != 32 {
		return fmt.Errorf("%s holds no 32-byte hex secret: put the original file back; passwords and sessions depend on it", k.path(masterFile))
	}
	// The stored secret is never used directly: one step of HKDF binds it to this use.
	k.master, err = hkdf.Key(sha256.New, raw, nil, "waybill master", 32)
	return err
}

func (k *Keys) loadIdentity() error {
	text, err := k.readOrMake(identityFile, func() (string, error) {
		id, err := age.GenerateX25519Identity()
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("# Waybill: this machine's key for checkpoints\n# public key: %s\n%s\n", id.Recipient(), id), nil
	})
	if err != nil {
		return err
	}
	ids, err := age.ParseIdentities(strings.NewReader(text))
	if err != nil {
		return fmt.Errorf("%s holds no age identity: put the original file back; checkpoints are encrypted to it", k.path(identityFile))
	}
	for _, id := range ids {
		if x, ok := id.(*age.X25519Identity); ok {
			k.identity = x
			return nil
		}
	}
	return fmt.Errorf("%s holds no X25519 identity (AGE-SECRET-KEY-1…)", k.path(identityFile))
}

func (k *Keys) loadToken() error {
	text, err := k.readOrMake(tokenFile, func() (string, error) { return randomHex(), nil })
	if err != nil {
		return err
	}
	if k.token = strings.TrimSpace(text); len(k.token) < 32 {
		return fmt.Errorf("%s holds less than 32 characters: remove it and a new token is made", k.path(tokenFile))
	}
	return nil
}

func (k *Keys) loadRecipients() error {
	made := false
	text, err := k.readOrMake(recipientsFile, func() (string, error) {
		id, err := age.GenerateX25519Identity()
		if err != nil {
			return "", err
		}
		k.fresh, made = id, true
		return fmt.Sprintf("# Checkpoints are encrypted to these age recipients besides this machine's own.\n# Keep their identities off this machine.\n%s\n", id.Recipient()), nil
	})
	if err != nil {
		return err
	}
	k.offline, err = age.ParseRecipients(strings.NewReader(text))
	if err != nil {
		return fmt.Errorf("%s must hold one age recipient (age1…) a line: %w", k.path(recipientsFile), err)
	}
	if made && fmt.Sprint(k.offline[0]) != fmt.Sprint(k.fresh.Recipient()) {
		k.fresh = nil // another process won the race; its caller hands its identity out
	}
	return nil
}

func (k *Keys) path(name string) string { return filepath.Join(k.dir, name) }

// readOrMake returns the content of a file, made first where it does not exist. Two processes that start
// together both get what the first one wrote: link(2) never replaces.
func (k *Keys) readOrMake(name string, make func() (string, error)) (string, error) {
	path := k.path(name)
	if text, err := readPrivate(path); !errors.Is(err, fs.ErrNotExist) {
		return text, err
	}
	text, err := make()
	if err != nil {
		return "", fmt.Errorf("generate %s: %w", path, err)
	}
	f, err := os.CreateTemp(k.dir, "."+name+"-*") // 0600
	if err != nil {
		return "", missing(path, err)
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return "", fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("write %s: %w", path, err)
	}
	if d, err := os.Open(k.dir); err == nil {
		_ = d.Sync() // the name must survive a power cut as well as the content; not every file system can
		d.Close()
	}
	return readPrivate(path)
}

// missing says what to do about a key that cannot be made where it should be.
func missing(path string, err error) error {
	if errors.Is(err, syscall.EROFS) || errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%s is missing and cannot be made there: make all keys with waybill key create, and give the folder all of them: %w", path, err)
	}
	return err
}

// tooOpen says whether others can read a secret, as ssh does. A group may read one that root gives to a process of somebody else,
// as the kubelet does with a mounted Secret: only root could have put it there.
func tooOpen(mode fs.FileMode, owner, own int) bool {
	if owner == 0 && own != 0 {
		return mode.Perm()&0o037 != 0
	}
	return mode.Perm()&0o077 != 0
}

// readPrivate refuses a secret that others can read.
func readPrivate(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	owner := -1
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		owner = int(stat.Uid)
	}
	if filepath.Base(path) != recipientsFile && tooOpen(info.Mode(), owner, os.Geteuid()) {
		return "", fmt.Errorf("%s can be read by others (mode %04o): chmod 600 it, and consider the secret known", path, info.Mode().Perm())
	}
	if info.Size() > 64<<10 {
		return "", fmt.Errorf("%s is %d bytes long; a key file has less than 64 KiB", path, info.Size())
	}
	raw, err := os.ReadFile(path)
	return string(raw), err
}

func randomHex() string {
	var b [32]byte
	rand.Read(b[:]) // never fails (Go 1.24)
	return hex.EncodeToString(b[:])
}
