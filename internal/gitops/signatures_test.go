package gitops

import (
	"crypto/ed25519"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/internal/long"
)

// pen is a person's key, as ssh-keygen makes it, and how git signs with it.
type pen struct {
	public string
	args   []string
}

func newPen(t *testing.T) pen {
	t.Helper()
	file := filepath.Join(t.TempDir(), "key")
	out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", file).CombinedOutput()
	require.NoError(t, err, "%s (apt-get install -y openssh-client)", out)
	public, err := os.ReadFile(file + ".pub")
	require.NoError(t, err)
	return pen{strings.TrimSpace(string(public)), []string{"-c", "gpg.format=ssh", "-c", "user.signingkey=" + file}}
}

// signed commits files as a person does who signs, on top of what is there, and pushes.
func (f *gitHost) signed(t *testing.T, p pen, files map[string]string, args ...string) string {
	t.Helper()
	return f.work(t, func(dir string) {
		write(t, dir, files)
		run(t, dir, append(append(append([]string{}, p.args...), "commit", "-q", "-S", "-m", "Change"), args...)...)
	})
}

// work lets a person work in a clone of main, and pushes main.
func (f *gitHost) work(t *testing.T, do func(dir string)) string {
	t.Helper()
	dir := t.TempDir()
	run(t, dir, "clone", "-q", f.folder, ".")
	run(t, dir, "checkout", "-q", "-B", "main")
	do(dir)
	run(t, dir, "push", "-q", "--force", "origin", "main")
	return strings.TrimSpace(run(t, dir, "rev-parse", "main"))
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
	}
	run(t, dir, "add", "-A")
}

// signs has the office ask for signatures, and gives it a key of its own.
func (o *office) signs(declared estate.Repository) {
	o.t.Helper()
	o.useSignatures(o.Follower, declared)
}

func (o *office) useSignatures(f *Follower, declared estate.Repository) {
	o.t.Helper()
	key, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed([]byte(strings.Repeat("k", 32))))
	require.NoError(o.t, err)
	f.Repository.Signer = key
	f.Signatures, err = OpenSignatures(o.t.TempDir(), &declared, key.PublicKey())
	require.NoError(o.t, err)
}

func (o *office) problem() string {
	o.t.Helper()
	head, err := o.store.EstateHead(o.t.Context())
	require.NoError(o.t, err)
	return head.Problem
}

// recorded are the payloads of what the ledger is to be told of a kind.
func (o *office) recorded(kind string) (payloads []string) {
	o.t.Helper()
	rows, err := o.store.Pool.Query(o.t.Context(), "select payload::text from ledger_outbox where kind = $1 order by id", kind)
	require.NoError(o.t, err)
	for rows.Next() {
		var p string
		require.NoError(o.t, rows.Scan(&p))
		payloads = append(payloads, p)
	}
	require.NoError(o.t, rows.Err())
	return payloads
}

func everything(people map[string]pen) estate.Repository {
	r := estate.Repository{Signed: estate.SignedEverything}
	for name, p := range people {
		r.Signers = append(r.Signers, estate.Signer{Name: name, SSH: []string{p.public}})
	}
	return r
}

func to(release string) map[string]string {
	return map[string]string{"targets/production.yaml": target("production", release)}
}

func TestACommitThatNobodySigned(t *testing.T) {
	long.Test(t)
	o, bob := newOffice(t), newPen(t)
	o.begin()
	o.signs(everything(map[string]pen{"bob": bob}))
	bad := o.forge.push(t, to("r2"))
	for range 3 {
		require.NoError(t, o.turn())
	}
	require.Empty(t, o.promotions())
	require.Contains(t, o.problem(), "targets/production.yaml was last changed by commit "+bad[:10]+" of Ann <ann@acme.example>, which is not signed; bob or waybill may change it")
	require.Contains(t, o.problem(), "git commit -S")
	refused := o.recorded(ledger.EstateRefused)
	require.Len(t, refused, 1, "it is said once")
	require.Contains(t, refused[0], bad)
	require.Contains(t, refused[0], "targets/production.yaml")

	o.forge.signed(t, bob, map[string]string{"README": "of something else\n"})
	require.NoError(t, o.turn())
	require.Empty(t, o.promotions(), "a signature on a later commit is none on this change")
	require.Len(t, o.recorded(ledger.EstateRefused), 2)

	good := o.forge.signed(t, bob, to("r3"), "--author=Bob <bob@acme.example>")
	require.NoError(t, o.turn())
	require.Equal(t, []string{"r3 by bob: running"}, o.promotions(), "a later good commit goes on")
	require.Empty(t, o.problem())
	taken := o.recorded(ledger.EstateTaken)
	require.Contains(t, taken[len(taken)-1], good)
	require.Contains(t, taken[len(taken)-1], `"signed_by":"bob"`)
}

func TestACommitThatIsPutBack(t *testing.T) {
	long.Test(t)
	o, bob := newOffice(t), newPen(t)
	o.begin()
	o.signs(everything(map[string]pen{"bob": bob}))
	o.forge.push(t, to("r2"))
	require.NoError(t, o.turn())
	require.NotEmpty(t, o.problem())
	o.forge.push(t, to("r1"))
	require.NoError(t, o.turn())
	require.Empty(t, o.problem(), "nothing differs from what is in force")
	require.Empty(t, o.promotions())
}

func TestAKeyThatIsNotKnown(t *testing.T) {
	long.Test(t)
	o, bob, mallory := newOffice(t), newPen(t), newPen(t)
	o.begin()
	o.signs(everything(map[string]pen{"bob": bob}))
	o.forge.signed(t, mallory, to("r2"), "--author=Bob <bob@acme.example>")
	require.NoError(t, o.turn())
	require.Empty(t, o.promotions())
	require.Contains(t, o.problem(), "signed by a key that is not known here (SHA256:")

	// Bob's signature on another commit, put on this one.
	o.forge.signed(t, bob, map[string]string{"README": "one\n"})
	o.forge.work(t, func(dir string) {
		signature := run(t, dir, "cat-file", "commit", "HEAD")
		signature = signature[strings.Index(signature, "gpgsig "):strings.Index(signature, "\n\n")]
		write(t, dir, to("r3"))
		run(t, dir, "commit", "-q", "--amend", "-m", "Change")
		raw := run(t, dir, "cat-file", "commit", "HEAD")
		headers, message, _ := strings.Cut(raw, "\n\n")
		require.NoError(t, os.WriteFile(filepath.Join(dir, ".git", "forged"), []byte(headers+"\n"+signature+"\n\n"+message), 0o600))
		run(t, dir, "update-ref", "refs/heads/main", strings.TrimSpace(run(t, dir, "hash-object", "-t", "commit", "-w", ".git/forged")))
	})
	require.NoError(t, o.turn())
	require.Empty(t, o.promotions())
	require.Contains(t, o.problem(), "names the key of bob, and the signature is not of this commit")
}

func TestAPathThatIsProtected(t *testing.T) {
	o, bob, ann := newOffice(t), newPen(t), newPen(t)
	o.begin()
	declared := everything(map[string]pen{"bob": bob, "ann": ann})
	declared.Protected = []estate.Protected{{Paths: []string{"targets/production.yaml", "policies/**"}, Signers: []string{"bob"}}}
	o.signs(declared)
	o.forge.signed(t, ann, to("r2"))
	require.NoError(t, o.turn())
	require.Empty(t, o.promotions())
	require.Contains(t, o.problem(), "which is signed by ann; bob may change it")
	o.forge.signed(t, bob, to("r3"))
	o.forge.signed(t, ann, map[string]string{"targets/test.yaml": target("test", "r1")})
	require.NoError(t, o.turn())
	require.Empty(t, o.problem(), "each has signed what they may change")
	require.Equal(t, []string{"r3 by bob: running"}, o.promotions())

	_, err := o.Target(t.Context(), estate.Target{Environment: "production", Release: digest("r1"), Name: "r1"}, Author{"ann", "ann@acme.example"}, false)
	require.ErrorIs(t, err, ErrProtected)
	require.ErrorContains(t, err, "targets/production.yaml is protected, and bob may change it")
	o.Propose = estate.ProposeBranch
	_, err = o.Target(t.Context(), estate.Target{Environment: "production", Release: digest("r1"), Name: "r1"}, Author{"ann", "ann@acme.example"}, false)
	require.NoError(t, err, "what people merge is theirs")
}

func TestTheServersOwnCommits(t *testing.T) {
	long.Test(t)
	o, bob := newOffice(t), newPen(t)
	o.begin()
	declared := everything(map[string]pen{"bob": bob})
	o.signs(declared)
	p, err := o.Target(t.Context(), estate.Target{Environment: "production", Release: digest("r2"), Name: "r2"}, Author{"bob", "bob@acme.example"}, false)
	require.NoError(t, err)
	allowed := filepath.Join(t.TempDir(), "allowed")
	require.NoError(t, os.WriteFile(allowed, []byte("waybill@localhost "+o.Key()+"\n"), 0o600))
	said := run(t, o.forge.folder, "-c", "gpg.format=ssh", "-c", "gpg.ssh.allowedSignersFile="+allowed, "verify-commit", p.Commit)
	require.Contains(t, said, `Good "git" signature for waybill@localhost`)
	require.NoError(t, o.turn())
	require.Equal(t, []string{"r2 by bob: running"}, o.promotions(), "asked by whom the server knew")

	// What went back is written down, whoever may change the file otherwise.
	declared.Protected = []estate.Protected{{Paths: []string{"targets/**"}, Signers: []string{"bob"}}}
	o.signs(declared)
	o.ends("rolled_back", digest("r1"))
	require.NoError(t, o.turn())
	require.Equal(t, "r1", o.wanted())
	require.Empty(t, o.problem())
	another := o.another()
	o.useSignatures(another, declared)
	_, err = another.Turn(t.Context())
	require.NoError(t, err)
	require.Empty(t, o.problem())
	require.Len(t, o.promotions(), 1)
}

func TestWhatAMergeBringsIsTheMergers(t *testing.T) {
	long.Test(t)
	o, bob, ann := newOffice(t), newPen(t), newPen(t)
	o.begin()
	declared := everything(map[string]pen{"bob": bob, "ann": ann})
	declared.Protected = []estate.Protected{{Paths: []string{"targets/production.yaml"}, Signers: []string{"bob"}}}
	o.signs(declared)
	var abandoned string
	o.forge.work(t, func(dir string) { // Bob's own proposal, which nobody has merged
		run(t, dir, "checkout", "-q", "-b", "proposal")
		write(t, dir, to("r2"))
		run(t, dir, append(bob.args, "commit", "-q", "-S", "-m", "Proposal")...)
		run(t, dir, "push", "-q", "origin", "proposal")
		abandoned = strings.TrimSpace(run(t, dir, "rev-parse", "HEAD"))
		run(t, dir, "checkout", "-q", "main")
	})
	o.forge.signed(t, ann, map[string]string{"README": "meanwhile\n"})
	require.NoError(t, o.turn())
	merge := func(p pen, onto, other string) {
		o.forge.work(t, func(dir string) {
			run(t, dir, "checkout", "-q", "--detach", onto)
			run(t, dir, append(p.args, "merge", "-q", "--no-ff", "-S", "-m", "Merge", other)...)
			run(t, dir, "branch", "-f", "main", "HEAD")
		})
	}
	before := strings.TrimSpace(run(t, o.forge.folder, "rev-parse", "main"))
	for _, parents := range [][2]string{{before, abandoned}, {abandoned, before}} { // as a merge is made, and the other way round
		merge(ann, parents[0], parents[1])
		require.NoError(t, o.turn())
		require.Empty(t, o.promotions(), "Ann merges what Bob alone may change")
		require.Contains(t, o.problem(), "signed by ann")
		run(t, o.forge.folder, "update-ref", "refs/heads/main", before)
	}
	merge(bob, before, abandoned)
	require.NoError(t, o.turn())
	require.Equal(t, []string{"r2 by bob: running"}, o.promotions())
}

func TestWhatMovesAnEnvironmentAlone(t *testing.T) {
	long.Test(t)
	o, bob := newOffice(t), newPen(t)
	o.begin()
	declared := everything(map[string]pen{"bob": bob})
	declared.Signed = estate.SignedTargets
	o.signs(declared)
	readme := o.forge.push(t, map[string]string{"README": "unsigned\n"})
	require.NoError(t, o.turn())
	head, err := o.store.EstateHead(t.Context())
	require.NoError(t, err)
	require.Equal(t, readme, head.Commit)
	for _, files := range []map[string]string{
		{"elsewhere.yaml": target("test", "r2")},
		{"targets/production.yaml": "# gone\nkind: Target\nenvironment: test\nrelease: " + digest("r2") + "\n"},
	} {
		o.forge.push(t, files)
		require.NoError(t, o.turn())
		require.Contains(t, o.problem(), "not signed")
		run(t, o.forge.folder, "update-ref", "refs/heads/main", readme)
	}
}

func TestTheFirstCommit(t *testing.T) {
	o, bob := newOffice(t), newPen(t)
	o.signs(everything(map[string]pen{"bob": bob}))
	o.forge.push(t, map[string]string{"estate.yaml": declaration, "targets/production.yaml": target("production", "r1")})
	require.ErrorIs(t, o.turn(), ErrNothingYet)
	require.Contains(t, o.problem(), "not signed")
	o.forge.signed(t, bob, nil, "--allow-empty")
	require.NoError(t, o.turn())
	require.Empty(t, o.problem(), "whoever signs the newest vouches for what was there before Waybill was")
}

func TestHistoryThatWasRewrittenIsSigned(t *testing.T) {
	long.Test(t)
	o, bob := newOffice(t), newPen(t)
	o.begin()
	o.signs(everything(map[string]pen{"bob": bob}))
	unsigned := o.forge.push(t, to("r2"), "--amend")
	require.NoError(t, o.store.AcceptEstate(t.Context(), unsigned))
	require.NoError(t, o.turn())
	require.Empty(t, o.promotions(), "to accept a history is not to sign it")
	signed := o.forge.signed(t, bob, to("r2"), "--amend")
	require.NoError(t, o.store.AcceptEstate(t.Context(), signed))
	require.NoError(t, o.turn())
	require.Equal(t, []string{"r2 by bob: running"}, o.promotions())
}

func TestOpenPGP(t *testing.T) {
	long.Test(t)
	o := newOffice(t)
	o.begin()
	home, root := t.TempDir(), t.TempDir()
	require.NoError(t, os.Chmod(home, 0o700))
	gpg := func(args ...string) string {
		cmd := exec.Command("gpg", append([]string{"--homedir", home, "--batch", "--passphrase", "", "--pinentry-mode", "loopback"}, args...)...)
		out, err := cmd.Output()
		require.NoError(t, err, "gpg %v (apt-get install -y gnupg)", args)
		return string(out)
	}
	t.Cleanup(func() { _ = exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run() })
	for _, who := range []string{"forge@git.example", "mallory@acme.example"} {
		gpg("--quick-generate-key", who, "rsa2048", "sign", "never")
	}
	require.NoError(t, os.WriteFile(filepath.Join(root, "forge.asc"), []byte(gpg("--armor", "--export", "forge@git.example")), 0o600))
	var err error
	o.Signatures, err = OpenSignatures(root, &estate.Repository{Signed: estate.SignedEverything, Signers: []estate.Signer{{Name: "forge", OpenPGP: "forge.asc"}}}, nil)
	require.NoError(t, err)
	t.Setenv("GNUPGHOME", home)
	o.forge.signed(t, pen{args: []string{"-c", "user.signingkey=mallory@acme.example"}}, to("r2"))
	require.NoError(t, o.turn())
	require.Empty(t, o.promotions())
	require.Contains(t, o.problem(), "signed by an OpenPGP key that is not known here")
	o.forge.signed(t, pen{args: []string{"-c", "user.signingkey=forge@git.example"}}, to("r2"), "--author=Bob <bob@acme.example>", "--amend")
	require.NoError(t, o.turn())
	require.Equal(t, []string{"r2 by bob: running"}, o.promotions(), "a forge signs for the author, whom it knows")

	_, err = OpenSignatures(root, &estate.Repository{Signers: []estate.Signer{{Name: "forge", OpenPGP: "none.asc"}}}, nil)
	require.ErrorContains(t, err, "none.asc")
}

// FuzzCommit: whatever is in a commit, what was signed and the signature never overlap, and nothing panics.
func FuzzCommit(f *testing.F) {
	f.Add([]byte("tree x\nauthor Bob <bob@acme.example> 1 +0000\ngpgsig -----BEGIN SSH SIGNATURE-----\n abc\n -----END SSH SIGNATURE-----\n\nmessage\n"))
	f.Add([]byte("gpgsig a\ngpgsig b\ngpgsig-sha256 c\n d\n\n"))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, length := range []int{40, 64} {
			c := parseCommit(raw, length)
			if len(c.payload)+len(c.signature) > len(raw)+2 {
				t.Fatalf("%d bytes became %d and %d", len(raw), len(c.payload), len(c.signature))
			}
		}
	})
}
