package gitops

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/bmatcuk/doublestar/v4"
	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"github.com/waybill-dev/waybill/internal/estate"
)

// Signatures say whose commits count, and for which files. The zero value asks for none.
type Signatures struct {
	Signed    estate.Signed
	Protected []estate.Protected
	Own       ssh.PublicKey // the server's: what it commits itself

	signers []signer
}

type signer struct {
	name    string
	ssh     []ssh.PublicKey
	openpgp openpgp.EntityList
}

// maxKeyRing bounds a file with OpenPGP keys, in bytes; a forge's has a few thousand.
const maxKeyRing = 1 << 20

// OpenSignatures reads what an estate's Repository says of signatures; files are relative to root.
func OpenSignatures(root string, r *estate.Repository, own ssh.PublicKey) (*Signatures, error) {
	s := &Signatures{Signed: r.Signed, Protected: r.Protected, Own: own}
	for _, declared := range r.Signers {
		known := signer{name: declared.Name}
		for _, line := range declared.SSH {
			key, err := estate.ParseSSHKey(line)
			if err != nil {
				return nil, fmt.Errorf("the SSH key of signer %s: %w", declared.Name, err)
			}
			known.ssh = append(known.ssh, key)
		}
		if declared.OpenPGP != "" {
			var err error
			if known.openpgp, err = readKeyRing(root, declared.OpenPGP); err != nil {
				return nil, fmt.Errorf("the OpenPGP keys of signer %s: %w", declared.Name, err)
			}
		}
		s.signers = append(s.signers, known)
	}
	return s, nil
}

func readKeyRing(root, file string) (openpgp.EntityList, error) {
	if !filepath.IsAbs(file) {
		file = filepath.Join(root, file)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	list, err := openpgp.ReadArmoredKeyRing(io.LimitReader(f, maxKeyRing))
	if err != nil {
		return nil, fmt.Errorf("%s holds no armoured public keys: %w; export them: gpg --armor --export ADDRESS", file, err)
	}
	return list, nil
}

// asked says whether any signature is asked for.
func (s *Signatures) asked() bool { return s != nil && (s.Signed != "" || len(s.Protected) > 0) }

// Key is the line with the server's own public key, as in a .pub file.
func (f *Follower) Key() string {
	if f.Repository.Signer == nil {
		return ""
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(f.Repository.Signer.PublicKey()))) + " " + estate.OwnSigner
}

// signed is what is known of a commit's signature.
type signed struct {
	commit, author string
	by             string // name of the signer; empty: nobody who counts
	why            string // why nobody
	promotion      bool   // the server's own, which writes down what went back
}

// verify says who signed a commit. It is a fault of the commit, and no error, that nobody did.
func (s *Signatures) verify(ctx context.Context, r *Repository, commit string) (signed, error) {
	found := signed{commit: commit}
	raw, err := r.git(ctx, nil, "cat-file", "commit", commit)
	if err != nil {
		return found, err
	}
	c := parseCommit(raw, len(commit))
	found.author = c.author
	switch {
	case c.broken != "":
		found.why = c.broken
	case len(c.signature) == 0:
		found.why = "is not signed"
	case bytes.HasPrefix(c.signature, []byte("-----BEGIN SSH SIGNATURE-----")):
		found.by, found.why = s.verifySSH(c)
	case bytes.HasPrefix(c.signature, []byte("-----BEGIN PGP SIGNATURE-----")):
		found.by, found.why = s.verifyOpenPGP(c)
	default:
		found.why = "has a signature that is neither SSH's nor OpenPGP's"
	}
	found.promotion = found.by == estate.OwnSigner && bytes.Contains(c.payload, []byte("\n"+promotionTrailer+": "))
	return found, nil
}

func (s *Signatures) verifySSH(c commitObject) (by, why string) {
	signature, err := sshsig.Unarmor(c.signature)
	if err != nil {
		return "", "has a signature that cannot be read: " + oneLine(err.Error())
	}
	name, fingerprint := "", ssh.FingerprintSHA256(signature.PublicKey)
	known := slices.Concat(s.signers, []signer{{name: estate.OwnSigner, ssh: ownKeys(s.Own)}})
	for _, who := range known {
		for _, key := range who.ssh {
			if bytes.Equal(key.Marshal(), signature.PublicKey.Marshal()) {
				name = who.name
			}
		}
	}
	if name == "" {
		return "", "is signed by a key that is not known here (" + fingerprint + ")"
	}
	if err := sshsig.Verify(bytes.NewReader(c.payload), signature, signature.PublicKey, signature.HashAlgorithm, gitNamespace); err != nil {
		return "", fmt.Sprintf("names the key of %s, and the signature is not of this commit: %s", name, oneLine(err.Error()))
	}
	return name, ""
}

func ownKeys(own ssh.PublicKey) []ssh.PublicKey {
	if own == nil {
		return nil
	}
	return []ssh.PublicKey{own}
}

func (s *Signatures) verifyOpenPGP(c commitObject) (by, why string) {
	why = "is signed by an OpenPGP key that is not known here"
	for _, who := range s.signers {
		if len(who.openpgp) == 0 {
			continue
		}
		_, err := openpgp.CheckArmoredDetachedSignature(who.openpgp, bytes.NewReader(c.payload), bytes.NewReader(c.signature), nil)
		if err == nil {
			return who.name, ""
		}
		if !errors.Is(err, pgperrors.ErrUnknownIssuer) {
			why = fmt.Sprintf("names a key of %s, and the signature does not count: %s", who.name, oneLine(err.Error()))
		}
	}
	return "", why
}

// may are those who may change a file; nil: anybody, unsigned. A path under several protections needs all of them.
func (s *Signatures) may(path string, moves bool) (names []string, asked bool) {
	if s.Signed == estate.SignedEverything || s.Signed == estate.SignedTargets && moves {
		asked = true
		for _, who := range s.signers {
			names = append(names, who.name)
		}
		names = append(names, estate.OwnSigner)
	}
	for _, p := range s.Protected {
		if !slices.ContainsFunc(p.Paths, func(pattern string) bool { ok, _ := doublestar.Match(pattern, path); return ok }) {
			continue
		}
		if !asked {
			names, asked = p.Signers, true
			continue
		}
		names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !slices.Contains(p.Signers, n) })
	}
	return names, asked
}

// Refused says which changes of a commit nobody has signed who may make them.
type Refused struct {
	Commit  string
	Changes []Unsigned
}

// Unsigned is a change that does not count.
type Unsigned struct {
	Path    string   `json:"path"`
	Commit  string   `json:"commit"` // that last changed it
	Author  string   `json:"author"`
	Why     string   `json:"why"`
	Signers []string `json:"signers"` // who may change it
}

func (e *Refused) Error() string {
	first := e.Changes[0]
	text := fmt.Sprintf("commit %.10s is not taken over: %s was last changed by commit %.10s of %s, which %s", e.Commit, first.Path, first.Commit, first.Author, first.Why)
	if len(first.Signers) == 0 {
		text += "; nobody may change it"
	} else {
		text += "; " + words(first.Signers) + " may change it"
	}
	if more := len(e.Changes) - 1; more > 0 {
		text += fmt.Sprintf(" (and %d more such files)", more)
	}
	return text + ". Look at the change; then put it back, or have one of them change it in a commit of their own that is signed: git commit -S"
}

func words(names []string) string {
	if len(names) == 1 {
		return names[0]
	}
	return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
}

// examine refuses what came after a commit in force (empty: none is) unless each file that differs was last changed,
// on the branch itself, in a commit that is signed by somebody who may. What a merge brought in was changed by whom
// merged. moves are the files with targets.
func (s *Signatures) examine(ctx context.Context, r *Repository, before, newest string, moves []string) error {
	if !s.asked() {
		return nil
	}
	if _, err := r.git(ctx, nil, "cat-file", "-e", before+"^{commit}"); before != "" && err != nil {
		before = "" // a person has taken a history that knows nothing of it
	}
	changed, err := r.changed(ctx, before, newest)
	if err != nil {
		return err
	}
	by, err := r.changedBy(ctx, before, newest)
	if err != nil {
		return err
	}
	refused := &Refused{Commit: newest}
	known := map[string]signed{}
	look := func(commit string) (signed, error) {
		if found, ok := known[commit]; ok {
			return found, nil
		}
		found, err := s.verify(ctx, r, commit)
		known[commit] = found
		return found, err
	}
	for _, path := range changed {
		names, asked := s.may(path, slices.Contains(moves, path))
		if !asked {
			continue
		}
		last, err := look(cmp.Or(by[path], newest))
		if err != nil {
			return err
		}
		if before == "" && !mayChange(names, last) { // where nothing is in force yet, the newest commit vouches for all that it holds
			if last, err = look(newest); err != nil {
				return err
			}
		}
		if mayChange(names, last) || last.promotion && slices.Contains(moves, path) {
			continue
		}
		if last.by != "" {
			last.why = "is signed by " + last.by
		}
		refused.Changes = append(refused.Changes, Unsigned{Path: path, Commit: last.commit, Author: last.author, Why: last.why, Signers: names})
	}
	if len(refused.Changes) > 0 {
		return refused
	}
	return nil
}

func mayChange(names []string, s signed) bool { return s.by != "" && slices.Contains(names, s.by) }
