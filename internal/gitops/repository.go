package gitops

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// Limits of one call of git.
const (
	localLimit  = 30 * time.Second
	remoteLimit = 2 * time.Minute
	maxOutput   = 64 << 20 // bytes
)

// ErrMoved is returned when somebody else's commit came first: fetch, and commit on top of that.
var ErrMoved = errors.New("the branch has moved meanwhile")

// ErrUnreachable is returned when the remote did not answer or did not let us in.
var ErrUnreachable = errors.New("the estate's Git remote cannot be reached")

// Remote is where the estate's repository is.
type Remote struct {
	URL    string // ssh://…, git@host:…, https://…, file:///… or a folder
	Branch string // default main
	// Password is asked for each time: of the user in the URL, for HTTPS; a forge's token. nil: none.
	Password func() (string, error)
	SSHKey   string // file with the private key, for SSH; default: as ssh itself is configured
	// KnownHosts is the file with the server's key, for SSH; default: the user's own. A server that is
	// not known is refused.
	KnownHosts string
}

// Repository is a clone of the estate's repository, without a work tree. It is safe for concurrent use
// by several processes: git locks what it writes, and every commit is made from objects alone.
type Repository struct {
	Signer ssh.Signer // signs what Commit makes: ed25519; nil: nothing is signed

	dir    string
	remote Remote
}

var branchName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$`)

// Open makes the clone in dir, or takes up the one that is there. It does not speak to the remote.
func Open(ctx context.Context, dir string, remote Remote) (*Repository, error) {
	if _, err := exec.LookPath("git"); err != nil {
		return nil, errors.New("the program git is not installed; apt-get install -y git")
	}
	if remote.Branch == "" {
		remote.Branch = "main"
	}
	if !branchName.MatchString(remote.Branch) || strings.Contains(remote.Branch, "..") || strings.HasSuffix(remote.Branch, "/") {
		return nil, fmt.Errorf("%q is no name of a branch", remote.Branch)
	}
	if err := checkURL(remote.URL); err != nil {
		return nil, err
	}
	r := &Repository{dir: dir, remote: remote}
	if _, err := os.Stat(filepath.Join(dir, "HEAD")); errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		if _, err := r.git(ctx, nil, "init", "-q", "--bare", "."); err != nil {
			return nil, fmt.Errorf("make a clone of the estate in %s: %w", dir, err)
		}
	}
	return r, nil
}

// checkURL refuses what would make git run a program of the URL's choice, and passwords in a URL.
func checkURL(remote string) error {
	if strings.HasPrefix(remote, "-") || strings.Contains(remote, "::") || remote == "" {
		return fmt.Errorf("%q is no URL of a Git repository; expected ssh://…, git@host:path, https://… or a folder", remote)
	}
	u, err := url.Parse(remote)
	if err != nil || u.Scheme == "" {
		return nil // a folder, or host:path
	}
	switch u.Scheme {
	case "https", "http", "ssh", "file":
	default:
		return fmt.Errorf("a Git remote by %s:// is not supported; expected ssh://, https:// or a folder", u.Scheme)
	}
	if _, secret := u.User.Password(); secret {
		return errors.New("the URL of the estate's Git remote holds a password; name where it stands instead (password: env:NAME or file:PATH)")
	}
	return nil
}

// Head fetches the branch and returns its newest commit; "" where the remote has none yet.
func (r *Repository) Head(ctx context.Context) (string, error) {
	return r.headOf(ctx, r.remote.Branch)
}

// headOf is Head of any branch.
func (r *Repository) headOf(ctx context.Context, branch string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, remoteLimit)
	defer cancel()
	ref := "refs/heads/" + branch
	listed, err := r.withRemote(ctx, "ls-remote", "--heads", r.remote.URL, ref)
	if err != nil {
		return "", err
	}
	head, _, _ := strings.Cut(string(listed), "\t")
	if head == "" {
		return "", nil
	}
	if !isCommit(head) {
		return "", fmt.Errorf("git ls-remote answered %.60q, which is not understood", listed)
	}
	if _, err := r.git(ctx, nil, "cat-file", "-e", head+"^{commit}"); err == nil {
		return head, nil
	}
	// Forced, as the remote's history is not ours to judge here: Follows does that, with both ends at hand.
	if _, err := r.withRemote(ctx, "fetch", "-q", "--no-tags", "--no-write-fetch-head", "--end-of-options", r.remote.URL, "+"+ref+":refs/waybill/"+branch); err != nil {
		return "", err
	}
	fetched, err := r.git(ctx, nil, "rev-parse", "--verify", "--quiet", "refs/waybill/"+branch)
	return strings.TrimSpace(string(fetched)), err
}

// Follows says whether a commit came after another: whether the branch only grew in between.
func (r *Repository) Follows(ctx context.Context, before, after string) (bool, error) {
	if before == after {
		return true, nil
	}
	if _, err := r.git(ctx, nil, "cat-file", "-e", before+"^{commit}"); err != nil {
		return false, nil // it was never fetched, or has been pruned: nothing that this branch grew from
	}
	_, err := r.git(ctx, nil, "merge-base", "--is-ancestor", before, after)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 {
		return false, nil
	}
	return err == nil, err
}

// Keep protects a commit from being pruned, under a name of our own.
func (r *Repository) Keep(ctx context.Context, name, commit string) error {
	_, err := r.git(ctx, nil, "update-ref", "refs/waybill/kept/"+name, commit)
	return err
}

// File reads one file at a commit; found is false where there is none.
func (r *Repository) File(ctx context.Context, commit, path string) (content []byte, found bool, err error) {
	content, err = r.git(ctx, nil, "cat-file", "blob", commit+":"+path)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 128 {
		return nil, false, nil
	}
	return content, err == nil, err
}

// Files reads all files below a folder at a commit, by their names in it.
func (r *Repository) Files(ctx context.Context, commit, folder string) (map[string][]byte, error) {
	list, err := r.git(ctx, nil, "ls-tree", "-r", "-z", "--full-tree", commit, "--", folder+"/")
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for entry := range strings.SplitSeq(strings.TrimRight(string(list), "\x00"), "\x00") {
		about, name, ok := strings.Cut(entry, "\t")
		fields := strings.Fields(about) // mode, type, name of the object
		if !ok || len(fields) != 3 || fields[1] != "blob" || fields[0] == "120000" {
			continue
		}
		if files[strings.TrimPrefix(name, folder+"/")], err = r.git(ctx, nil, "cat-file", "blob", fields[2]); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// Export writes the files of a commit into an empty folder. Links stay links: whoever reads keeps
// within the folder.
func (r *Repository) Export(ctx context.Context, commit, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	index := filepath.Join(dir, ".waybill-index")
	defer func() { _ = os.Remove(index) }()
	env := []string{"GIT_INDEX_FILE=" + index, "GIT_WORK_TREE=" + dir}
	if _, err := r.gitIn(ctx, env, nil, "read-tree", commit); err != nil {
		return err
	}
	_, err := r.gitIn(ctx, env, nil, "checkout-index", "-a", "-q", "-f", "--prefix="+dir+"/")
	return err
}

// Author is whose act a commit is.
type Author struct{ Name, Email string }

// Message is what a commit says. Trailers are for machines: "Waybill-Promotion: …".
type Message struct {
	Subject  string
	Body     string
	Trailers [][2]string
	Author   Author
	At       time.Time

	forPeople bool // it goes to a branch that people merge
}

func (m Message) text() string {
	var b strings.Builder
	b.WriteString(oneLine(m.Subject))
	if m.Body != "" {
		b.WriteString("\n\n" + strings.TrimSpace(m.Body))
	}
	if len(m.Trailers) > 0 {
		b.WriteString("\n")
		for _, t := range m.Trailers {
			fmt.Fprintf(&b, "\n%s: %s", t[0], oneLine(t[1]))
		}
	}
	return b.String() + "\n"
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// Commit makes a commit on top of parent that changes files, and nothing else; nil content removes one.
// Nothing is published: see Push. With the same parent, files and message (its time included) it is the same commit.
func (r *Repository) Commit(ctx context.Context, parent string, files map[string][]byte, m Message) (string, error) {
	work, err := os.MkdirTemp("", "waybill-git-*")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(work) }()
	env := []string{"GIT_INDEX_FILE=" + filepath.Join(work, "index")}
	if parent != "" {
		if _, err := r.gitIn(ctx, env, nil, "read-tree", parent); err != nil {
			return "", err
		}
	}
	var info bytes.Buffer
	for path, content := range files {
		if content == nil {
			fmt.Fprintf(&info, "0 %s\t%s\x00", strings.Repeat("0", 40), path)
			continue
		}
		blob, err := r.gitIn(ctx, env, content, "hash-object", "-w", "--stdin")
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&info, "100644 %s\t%s\x00", strings.TrimSpace(string(blob)), path)
	}
	if _, err := r.gitIn(ctx, env, info.Bytes(), "update-index", "-z", "--index-info"); err != nil {
		return "", err
	}
	tree, err := r.gitIn(ctx, env, nil, "write-tree")
	if err != nil {
		return "", err
	}
	when := fmt.Sprintf("@%d +0000", m.At.Unix())
	env = append(env, "GIT_AUTHOR_NAME="+oneLine(m.Author.Name), "GIT_AUTHOR_EMAIL="+oneLine(m.Author.Email), "GIT_AUTHOR_DATE="+when,
		"GIT_COMMITTER_NAME=Waybill", "GIT_COMMITTER_EMAIL=waybill@localhost", "GIT_COMMITTER_DATE="+when)
	args := []string{"commit-tree", strings.TrimSpace(string(tree)), "-F", "-"}
	if parent != "" {
		args = append(args, "-p", parent)
	}
	commit, err := r.gitIn(ctx, env, []byte(m.text()), args...)
	if err != nil {
		return "", err
	}
	return r.sign(ctx, strings.TrimSpace(string(commit)))
}

// Push publishes a commit on a branch of the remote; "" is the estate's own. ErrMoved: the branch has
// got other commits meanwhile, and nothing was pushed. Nothing is ever forced.
func (r *Repository) Push(ctx context.Context, commit, branch string) error {
	if branch == "" {
		branch = r.remote.Branch
	}
	ctx, cancel := context.WithTimeout(ctx, remoteLimit)
	defer cancel()
	out, err := r.withRemote(ctx, "push", "--porcelain", "--end-of-options", r.remote.URL, commit+":refs/heads/"+branch)
	if err == nil {
		return nil
	}
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "!") {
			continue
		}
		if strings.Contains(line, "non-fast-forward") || strings.Contains(line, "fetch first") || strings.Contains(line, "cannot lock ref") || strings.Contains(line, "failed to update ref") {
			return ErrMoved
		}
		return fmt.Errorf("the estate's Git remote refuses the commit: %s", oneLine(strings.TrimPrefix(line, "!")))
	}
	return err
}

// withRemote runs a command that speaks to the remote.
func (r *Repository) withRemote(ctx context.Context, args ...string) ([]byte, error) {
	env, end, err := r.credentials()
	if err != nil {
		return nil, err
	}
	defer end()
	out, err := r.gitIn(ctx, env, nil, args...)
	if err == nil {
		return out, nil
	}
	if args[0] == "push" && bytes.Contains(out, []byte("!")) {
		return out, err // the remote answered
	}
	return out, fmt.Errorf("%w: %s: %w", ErrUnreachable, r.remote.URL, err)
}

// credentials gives git what it needs to be let in: by a program that reads the password from a file
// that only we can read, never in an argument.
func (r *Repository) credentials() (env []string, end func(), err error) {
	end = func() {}
	ssh := "ssh -o BatchMode=yes -o ConnectTimeout=20 -o StrictHostKeyChecking=yes"
	if r.remote.SSHKey != "" {
		ssh += " -o IdentitiesOnly=yes -i " + quote(r.remote.SSHKey)
	}
	if r.remote.KnownHosts != "" {
		ssh += " -o UserKnownHostsFile=" + quote(r.remote.KnownHosts)
	}
	env = []string{"GIT_SSH_COMMAND=" + ssh}
	if r.remote.Password == nil {
		return env, end, nil
	}
	password, err := r.remote.Password()
	if err != nil {
		return nil, end, fmt.Errorf("the password of the estate's Git remote: %w", err)
	}
	work, err := os.MkdirTemp("", "waybill-askpass-*")
	if err != nil {
		return nil, end, err
	}
	end = func() { _ = os.RemoveAll(work) }
	err = errors.Join(
		os.WriteFile(filepath.Join(work, "password"), []byte(password), 0o600),
		os.WriteFile(filepath.Join(work, "askpass"), []byte("#!/bin/sh\nexec cat \"${0%/*}/password\"\n"), 0o700), //nolint:gosec // it must be run
	)
	if err != nil {
		end()
		return nil, func() {}, err
	}
	return append(env, "GIT_ASKPASS="+filepath.Join(work, "askpass")), end, nil
}

// quote is for the shell through which git runs ssh.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func (r *Repository) git(ctx context.Context, stdin []byte, args ...string) ([]byte, error) {
	return r.gitIn(ctx, nil, stdin, args...)
}

// gitIn runs git on the clone. Nothing that a repository configures is executed, and no variable of
// whoever started us leads to another repository.
func (r *Repository) gitIn(ctx context.Context, env []string, stdin []byte, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, max(localLimit, remaining(ctx)))
	defer cancel()
	cmd := exec.CommandContext(ctx, "git", append([]string{"--git-dir", r.dir, "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false",
		"-c", "protocol.ext.allow=never", "-c", "credential.helper=", "-c", "gc.auto=0", "-c", "commit.gpgSign=false"}, args...)...)
	cmd.Dir = r.dir
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "GIT_") && !strings.HasPrefix(variable, "LC_") && !strings.HasPrefix(variable, "LANG") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	cmd.Env = append(cmd.Env, "LC_ALL=C", "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_NOSYSTEM=1", "GIT_HTTP_LOW_SPEED_LIMIT=1", "GIT_HTTP_LOW_SPEED_TIME=30")
	cmd.Env = append(cmd.Env, env...)
	cmd.WaitDelay = time.Second
	var out, failure limited
	out.left, failure.left = maxOutput, 64<<10
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &failure
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return out.Bytes(), fmt.Errorf("git %s: %w", args[0], ctx.Err())
		}
		return out.Bytes(), fmt.Errorf("git %s: %w: %s", args[0], err, oneLine(failure.String()))
	}
	return out.Bytes(), nil
}

func remaining(ctx context.Context) time.Duration {
	if at, ok := ctx.Deadline(); ok {
		return time.Until(at)
	}
	return localLimit
}

// limited keeps the beginning of what is written.
type limited struct {
	bytes.Buffer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(l.left, len(p))
	l.left -= n
	l.Buffer.Write(p[:n])
	return len(p), nil
}

var commitName = regexp.MustCompile(`^(?:[0-9a-f]{40}|[0-9a-f]{64})$`)

func isCommit(s string) bool { return commitName.MatchString(s) }

// author is the address of whoever last changed a file, up to a commit.
func (r *Repository) author(ctx context.Context, commit, file string) (string, error) {
	out, err := r.git(ctx, nil, "log", "-1", "--format=%ae", commit, "--", file)
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(out)), nil
}

// lastChange is the last commit of the branch itself, up to one, that changed a file.
func (r *Repository) lastChange(ctx context.Context, commit, file string) (string, error) {
	out, err := r.git(ctx, nil, "log", "-1", "--first-parent", "--format=%H", commit, "--", ":(literal)"+file)
	return strings.TrimSpace(string(out)), err
}
