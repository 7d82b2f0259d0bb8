package gitops

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/hiddeco/sshsig"
)

// gitNamespace is what Git signs commits under, so that a signature of something else never counts for one.
const gitNamespace = "git"

// commitObject is a commit as Git keeps it, taken apart into what was signed and the signature.
type commitObject struct {
	payload   []byte // without the headers with signatures
	signature []byte
	author    string // "Name <address>", as the commit says: anybody can write any name
	broken    string // why its signature cannot count, whatever it is
}

// parseCommit takes a commit apart; the length of its name tells the repository's kind of hash, and so which header
// holds the signature.
func parseCommit(raw []byte, length int) (c commitObject) {
	header := "gpgsig "
	if length > 40 {
		header = "gpgsig-sha256 "
	}
	headers, message, _ := bytes.Cut(raw, []byte("\n\n"))
	skipping, ours, signatures := false, false, 0
	for line := range bytes.Lines(append(headers, '\n')) {
		switch {
		case bytes.HasPrefix(line, []byte(" ")) && skipping:
			if ours {
				c.signature = append(c.signature, line[1:]...)
			}
			continue
		case bytes.HasPrefix(line, []byte("gpgsig")):
			skipping, ours = true, bytes.HasPrefix(line, []byte(header))
			if ours {
				signatures++
				c.signature = append(c.signature, line[len(header):]...)
			}
			continue
		case bytes.HasPrefix(line, []byte("author ")) && c.author == "":
			c.author = string(line[len("author "):])
			if end := strings.LastIndex(c.author, ">"); end >= 0 {
				c.author = oneLine(c.author[:end+1])
			}
		}
		skipping = false
		c.payload = append(c.payload, line...)
	}
	if signatures > 1 {
		c.broken = "has more than one signature"
	}
	c.payload = append(append(c.payload, '\n'), message...)
	return c
}

// sign adds the server's own signature to a commit that was just made, and returns the signed one. The key is
// ed25519, whose signatures are always the same: so the same act twice is one commit.
func (r *Repository) sign(ctx context.Context, commit string) (string, error) {
	if r.Signer == nil {
		return commit, nil
	}
	raw, err := r.git(ctx, nil, "cat-file", "commit", commit)
	if err != nil {
		return "", err
	}
	signature, err := sshsig.SignWithRand(bytes.NewReader(raw), rand.Reader, r.Signer, sshsig.HashSHA512, gitNamespace)
	if err != nil {
		return "", fmt.Errorf("sign a commit: %w", err)
	}
	header := "gpgsig "
	if len(commit) > 40 {
		header = "gpgsig-sha256 "
	}
	armored := strings.TrimSuffix(string(sshsig.Armor(signature)), "\n")
	headers, message, _ := bytes.Cut(raw, []byte("\n\n"))
	whole := string(headers) + "\n" + header + strings.ReplaceAll(armored, "\n", "\n ") + "\n\n" + string(message)
	named, err := r.git(ctx, []byte(whole), "hash-object", "-t", "commit", "-w", "--stdin")
	return strings.TrimSpace(string(named)), err
}

// changed are the files that differ between two commits; an empty one has no files.
func (r *Repository) changed(ctx context.Context, before, after string) ([]string, error) {
	var out []byte
	var err error
	if before == "" {
		out, err = r.git(ctx, nil, "ls-tree", "-r", "-z", "--name-only", "--full-tree", after)
	} else {
		out, err = r.git(ctx, nil, "diff-tree", "-r", "-z", "--no-renames", "--name-only", before, after)
	}
	if err != nil {
		return nil, err
	}
	if len(out) >= maxOutput {
		return nil, fmt.Errorf("commits %.10s and %.10s differ in too many files", before, after)
	}
	return strings.FieldsFunc(string(out), func(r rune) bool { return r == 0 }), nil
}

// changedBy gives for each file the last commit that changed it on the branch itself, since a commit. It knows of
// none where the branch, followed back from its newest commit by first parents, does not lead to that commit.
func (r *Repository) changedBy(ctx context.Context, before, newest string) (map[string]string, error) {
	args := []string{"log", "-z", "--first-parent", "--diff-merges=first-parent", "--no-renames", "--root", "--name-only", "--format=%x00%H %P", newest}
	if before != "" {
		args = append(args, "^"+before)
	}
	out, err := r.git(ctx, nil, args...)
	if err != nil {
		return nil, err
	}
	by := map[string]string{}
	commit, first := "", newest
	fields := strings.Split(string(out), "\x00")
	for i := 1; i < len(fields); i++ { // "", "COMMIT PARENTS", "\nFILE", "FILE", …: what follows on an empty field is a commit, for no file has an empty name
		field := fields[i]
		if field == "" {
			continue
		}
		if fields[i-1] == "" {
			var parents string
			commit, parents, _ = strings.Cut(field, " ")
			first, _, _ = strings.Cut(parents, " ")
			if i+1 < len(fields) {
				fields[i+1] = strings.TrimPrefix(fields[i+1], "\n")
			}
			continue
		}
		if by[field] == "" {
			by[field] = commit
		}
	}
	if len(out) >= maxOutput || first != before {
		return nil, nil
	}
	return by, nil
}
