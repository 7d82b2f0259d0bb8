package gitops

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/forge"
	"github.com/waybill-dev/waybill/internal/store"
)

// promotionTrailer names the promotion that went back. What the server commits besides has none.
const promotionTrailer = "Waybill-Promotion"

// ErrProtected is returned where the estate lets others alone write a target down.
var ErrProtected = errors.New("the server may not write this target down")

// ErrNoPullRequest is returned where a branch is pushed and the forge opened no pull request for it.
var ErrNoPullRequest = errors.New("no pull request was opened")

// maxRaces bounds how often a commit is made anew because somebody else's came first.
const maxRaces = 20

// Proposal is a promotion written down in Git.
type Proposal struct {
	Commit string `json:"commit"`
	Branch string `json:"branch,omitempty"` // where it waits for a pull request; empty: it is on the estate's own branch
	Link   string `json:"link,omitempty"`   // where people see the pull request; empty: they are to open it
}

// Target writes down which release shall run in an environment. The commit is the promotion: the follower starts it.
// With branch, or where the estate asks for it, it goes to a branch of its own that people merge: then the merge is.
func (f *Follower) Target(ctx context.Context, t estate.Target, by Author, branch bool) (Proposal, error) {
	m := Message{
		Subject:  fmt.Sprintf("%s: release %s", t.Environment, or(t.Name, short(t.Release))),
		Trailers: [][2]string{{"Waybill-Environment", t.Environment}, {"Waybill-Release", t.Release}},
		Author:   by, At: time.Now(),
		forPeople: f.Propose == estate.ProposeBranch || branch,
	}
	p, err := f.writeDown(ctx, t, m)
	if err != nil || p.Branch == "" {
		return p, err
	}
	return f.pullRequest(ctx, p, t, m) // nothing waits for the forge meanwhile
}

// writeDown commits a target, to the branch itself or, for people, to one of its own.
func (f *Follower) writeDown(ctx context.Context, t estate.Target, m Message) (Proposal, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	always := func(estate.Target, bool) (estate.Target, bool, error) { return t, true, nil }
	if !m.forPeople {
		commit, err := f.change(ctx, t.Environment, m, always)
		return Proposal{Commit: commit}, err
	}
	head, err := f.Repository.Head(ctx)
	if err != nil {
		return Proposal{}, err
	}
	commit, _, err := f.commit(ctx, head, t.Environment, m, always)
	if err != nil {
		return Proposal{}, err
	}
	p := Proposal{Commit: commit, Branch: fmt.Sprintf("waybill/%s-%s", t.Environment, short(t.Release))}
	if err := f.Repository.Push(ctx, commit, p.Branch); !errors.Is(err, ErrMoved) {
		return p, err
	}
	there, err := f.proposed(ctx, p.Branch, t)
	if err != nil {
		return p, err
	}
	if there == "" {
		return p, fmt.Errorf("branch %s is there already and says something else; merge or delete it first", p.Branch)
	}
	p.Commit = there // asked before
	return p, nil
}

// pullRequest opens the one of a branch that is pushed, or finds it.
func (f *Follower) pullRequest(ctx context.Context, p Proposal, t estate.Target, m Message) (Proposal, error) {
	if f.Forge == nil {
		return p, nil
	}
	link, err := f.Forge.Open(ctx, forge.Request{
		Branch: p.Branch, Into: f.Repository.remote.Branch, Title: m.Subject,
		Body: fmt.Sprintf("%s asks for release %s (`%s`) in %s.\n\nIt begins when this is merged. Until then nothing runs differently.", m.Author.Name, or(t.Name, short(t.Release)), t.Release, t.Environment),
	})
	if err != nil {
		return p, fmt.Errorf("%w: branch %s is pushed; open it there, or ask again: %w", ErrNoPullRequest, p.Branch, err)
	}
	p.Link = link
	return p, nil
}

// proposed is the newest commit of a branch that wants this target; empty where it wants something else.
func (f *Follower) proposed(ctx context.Context, branch string, t estate.Target) (string, error) {
	head, err := f.Repository.headOf(ctx, branch)
	if err != nil || head == "" {
		return "", err
	}
	if err := f.export(ctx, head); err != nil {
		return "", err
	}
	declared, err := estate.Load(ctx, f.folder(head))
	if err != nil {
		return "", nil //nolint:nilerr // whatever it says, it is not this
	}
	if now, there := declared.Target(t.Environment); there && now.Release == t.Release {
		return head, nil
	}
	return "", nil
}

// tell writes down in Git what went back; waits says that something is left to be told.
func (f *Follower) tell(ctx context.Context) (waits bool, err error) {
	list, err := f.Store.Reversals(ctx)
	if err != nil {
		return false, err
	}
	var errs []error
	for _, r := range list {
		err := f.tellOne(ctx, r)
		if err != nil {
			waits = true
			errs = append(errs, err, f.Store.ReversalFailed(ctx, r.ID, oneLine(err.Error())))
		}
	}
	return waits, errors.Join(errs...)
}

// errSuperseded: Git wants something else by now, and that counts.
var errSuperseded = errors.New("superseded")

func (f *Follower) tellOne(ctx context.Context, r store.Reversal) error {
	back := estate.Target{Environment: r.Environment, Release: r.BackTo}
	if r.BackTo != "" {
		if known, err := f.Store.Release(ctx, r.BackTo); err == nil {
			back.Name = known.Name
		}
	}
	m := Message{
		Subject:  fmt.Sprintf("%s: %s %s", r.Environment, verb(r), or(back.Name, short(or(r.BackTo, "none")))),
		Body:     r.Reason,
		Trailers: [][2]string{{"Waybill-Environment", r.Environment}, {"Waybill-Release", or(r.BackTo, "none")}, {promotionTrailer, r.Promotion}},
		Author:   Author{"Waybill", "waybill@localhost"}, At: r.CreatedAt,
	}
	commit, err := f.change(ctx, r.Environment, m, func(now estate.Target, there bool) (estate.Target, bool, error) {
		switch {
		case there && now.Release == r.BackTo || !there && r.BackTo == "":
			return now, false, nil
		case !there || now.Release != r.Release:
			return now, false, errSuperseded
		}
		return back, true, nil
	})
	if errors.Is(err, errSuperseded) {
		return f.Store.EndReversal(ctx, r, "", "Git wants something else by now")
	}
	if err != nil {
		return err
	}
	f.Log.Info("what went back is written down in Git", "environment", r.Environment, "release", r.BackTo, "commit", commit)
	if err := f.Store.EndReversal(ctx, r, commit, ""); err != nil {
		return err
	}
	return f.Take(ctx)
}

// verb tells what went back from what came in by the emergency path, which acts before Git is told.
func verb(r store.Reversal) string {
	if strings.HasPrefix(r.Reason, store.EmergencyReason) {
		return "in an emergency release"
	}
	return "back to release"
}

// decide says what a target becomes, and whether that is a change.
type decide func(now estate.Target, there bool) (estate.Target, bool, error)

// change commits to the estate's branch, anew whenever somebody else's commit came first.
func (f *Follower) change(ctx context.Context, environment string, m Message, d decide) (string, error) {
	for range maxRaces {
		head, err := f.Repository.Head(ctx)
		if err != nil {
			return "", err
		}
		commit, changed, err := f.commit(ctx, head, environment, m, d)
		if err != nil || !changed {
			return commit, err
		}
		if err = f.Repository.Push(ctx, commit, ""); err == nil {
			return commit, nil
		} else if !errors.Is(err, ErrMoved) {
			return "", err
		}
	}
	return "", fmt.Errorf("the estate's branch moved %d times while a commit was to be added; try again", maxRaces)
}

// commit makes the commit on top of head; changed is false where Git says so already.
func (f *Follower) commit(ctx context.Context, head, environment string, m Message, d decide) (commit string, changed bool, err error) {
	if head == "" {
		return "", false, errors.New("the estate's branch has no commit yet")
	}
	if err := f.export(ctx, head); err != nil {
		return "", false, err
	}
	declared, err := estate.Load(ctx, f.folder(head))
	if err != nil {
		return "", false, fmt.Errorf("the estate at commit %.10s does not hold together: %w", head, err)
	}
	now, there := declared.Target(environment)
	next, changed, err := d(now, there)
	if err != nil || !changed || there && next.Release == now.Release {
		return head, false, err
	}
	file := path.Join("targets", environment+".yaml")
	if there {
		file = now.File()
	}
	if err := f.mayWrite(file, m); err != nil {
		return "", false, err
	}
	var content []byte
	if next.Release != "" {
		content = document(next)
	}
	if before, found, err := f.Repository.File(ctx, head, file); err != nil {
		return "", false, err
	} else if found && (!there || !bytes.Equal(before, document(now)) && !alone(before)) {
		// Others' documents are in the same file: only the digest and the name are replaced.
		if content, err = replaced(before, now, next, there); err != nil {
			return "", false, fmt.Errorf("%s: %w", file, err)
		}
	}
	commit, err = f.Repository.Commit(ctx, head, map[string][]byte{file: content}, m)
	return commit, true, err
}

// mayWrite refuses what would not be taken over afterwards: a target that the server may not write down. What went back
// always may be, and what people merge is theirs.
func (f *Follower) mayWrite(file string, m Message) error {
	back := slices.ContainsFunc(m.Trailers, func(t [2]string) bool { return t[0] == promotionTrailer })
	if !f.Signatures.asked() || m.forPeople || back {
		return nil
	}
	if names, asked := f.Signatures.may(file, true); asked && !slices.Contains(names, estate.OwnSigner) {
		return fmt.Errorf("%w: %s is protected, and %s may change it; commit it by hand, signed (git commit -S), or have the server push a branch for them: waybill promote --pull-request", ErrProtected, file, words(names))
	}
	return nil
}

// document is a Target as Waybill writes it.
func document(t estate.Target) []byte {
	text := "# Which release shall run in " + t.Environment + ". Waybill writes this file when somebody promotes, and when a release went back.\nkind: Target\nenvironment: " + t.Environment + "\nrelease: " + t.Release + "\n"
	if t.Name != "" {
		text += fmt.Sprintf("name: %q\n", t.Name)
	}
	return []byte(text)
}

// alone says whether a file holds one document.
func alone(content []byte) bool {
	return bytes.Count(content, []byte("\nkind:"))+bytes.Count(content, []byte("---\nkind:")) <= 1 && !bytes.Contains(content, []byte("\n---"))
}

// replaced changes the digest of a target, and its name, in a file that holds more.
func replaced(content []byte, now, next estate.Target, there bool) ([]byte, error) {
	text := string(content)
	if !there || next.Release == "" || strings.Count(text, now.Release) != 1 {
		return nil, fmt.Errorf("the target of %s cannot be changed in a file with other documents; put it into targets/%s.yaml", next.Environment, next.Environment)
	}
	text = strings.Replace(text, now.Release, next.Release, 1)
	for _, form := range []string{"name: %s\n", "name: %q\n"} {
		if before := fmt.Sprintf(form, now.Name); now.Name != "" && strings.Count(text, before) == 1 {
			text = strings.Replace(text, before, fmt.Sprintf(form, next.Name), 1)
		}
	}
	return []byte(text), nil
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// short is a digest as people read it.
func short(digest string) string {
	return strings.TrimPrefix(digest, "sha256:")[:min(12, len(strings.TrimPrefix(digest, "sha256:")))]
}
