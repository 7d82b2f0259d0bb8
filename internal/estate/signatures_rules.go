package estate

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"golang.org/x/crypto/ssh"
)

var signeds = []string{string(SignedEverything), string(SignedTargets)}

// maxSSHKey bounds a line with a public key, in bytes: one of RSA with 16384 bits has about 2,800.
const maxSSHKey = 4096

// ParseSSHKey reads a public key as it stands in a .pub file; keys that are too weak to vouch for anything are refused.
func ParseSSHKey(line string) (ssh.PublicKey, error) {
	if len(line) > maxSSHKey || strings.ContainsAny(strings.TrimSpace(line), "\n\r") {
		return nil, fmt.Errorf("one line with a public key expected, like ssh-ed25519 AAAA…")
	}
	key, _, options, _, err := ssh.ParseAuthorizedKey([]byte(line))
	switch {
	case err != nil || len(options) > 0:
		return nil, fmt.Errorf("one line with a public key expected, like ssh-ed25519 AAAA…")
	case bytes.Contains(key.Marshal()[:min(64, len(key.Marshal()))], []byte("-cert-")):
		return nil, fmt.Errorf("a certificate is not supported; the public key itself expected")
	case key.Type() == "ssh-dss":
		return nil, fmt.Errorf("a DSA key is too weak; make one with: ssh-keygen -t ed25519")
	case key.Type() == ssh.KeyAlgoRSA && len(key.Marshal()) < 2048/8:
		return nil, fmt.Errorf("an RSA key of less than 2048 bits is too weak; make one with: ssh-keygen -t ed25519")
	}
	return key, nil
}

// signatures checks what a Repository says of signed commits.
func (d *document) signatures(r *Repository) {
	if len(r.Signers) > maxList || len(r.Protected) > maxList {
		d.problem("signers", fmt.Sprintf("signers or protected has more than %d entries", maxList), "")
		return
	}
	if d.given("signed") && !d.unread("signed") {
		d.oneOf("signed", string(r.Signed), signeds)
		if len(r.Signers) == 0 && !d.unread("signers") {
			d.problem("signed", "asks for signatures, and there are no signers: no commit would ever be taken over", "name them: signers: [{name: …, ssh: [ssh-ed25519 AAAA…]}]")
		}
	}
	names, keys := []string{OwnSigner}, map[string]string{}
	for i, s := range r.Signers {
		if at := fmt.Sprintf("signers[%d]", i); !d.unread(at) {
			d.signer(at, s, keys)
			switch {
			case s.Name == OwnSigner:
				d.problem(at+".name", shorten(s.Name)+" is the server itself, whose key it makes", "another name")
			case slices.Contains(names, s.Name):
				d.problem(at+".name", shorten(s.Name)+" names another signer already", "")
			}
			names = append(names, s.Name)
		}
	}
	for i, p := range r.Protected {
		if at := fmt.Sprintf("protected[%d]", i); !d.unread(at) {
			d.protected(at, p, names)
		}
	}
}

func (d *document) signer(at string, s Signer, keys map[string]string) {
	d.name(at+".name", s.Name)
	if len(s.SSH) == 0 && s.OpenPGP == "" && !d.unread(at+".ssh") && !d.unread(at+".openpgp") {
		d.problem(at, "has no key", "ssh: [ssh-ed25519 AAAA…], or openpgp: FILE")
	}
	d.once(at+".ssh", s.SSH)
	for j, line := range s.SSH[:min(len(s.SSH), maxList)] {
		field := fmt.Sprintf("%s.ssh[%d]", at, j)
		if d.unread(field) {
			continue
		}
		key, err := ParseSSHKey(line)
		if err != nil {
			d.problem(field, "holds no key that counts: "+err.Error(), "")
			continue
		}
		if other, twice := keys[string(key.Marshal())]; twice && other != s.Name {
			d.problem(field, "is the key of "+shorten(other)+" already: who signed would not be known", "")
		}
		keys[string(key.Marshal())] = s.Name
	}
	if len(s.OpenPGP) > maxText {
		d.problem(at+".openpgp", "is too long", "")
	}
}

func (d *document) protected(at string, p Protected, names []string) {
	d.need(at+".paths", "files of the repository, like targets/production.yaml or policies/**")
	d.need(at+".signers", "names of signers")
	d.once(at+".paths", p.Paths)
	d.once(at+".signers", p.Signers)
	for j, path := range p.Paths[:min(len(p.Paths), maxList)] {
		if field := fmt.Sprintf("%s.paths[%d]", at, j); !d.unread(field) && (path == "" || len(path) > maxText || strings.HasPrefix(path, "/") || !doublestar.ValidatePattern(path)) {
			d.problem(field, shorten(path)+" is no pattern of paths in the repository", "like targets/production.yaml or policies/**")
		}
	}
	for j, name := range p.Signers[:min(len(p.Signers), maxList)] {
		if field := fmt.Sprintf("%s.signers[%d]", at, j); !d.unread(field) && !slices.Contains(names, name) {
			d.problem(field, "there is no signer "+shorten(name), suggest(name, names))
		}
	}
}
