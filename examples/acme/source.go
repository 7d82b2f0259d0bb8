// Package acme is a warehouse company that Waybill is shown and tested with: Odoo addons in
// successive releases, and an estate for them. Two of the releases are good, one fails in
// production only, one commits and is broken there, and one is a breaking change. Two further ones, for the
// full story: one makes each delivery slower, one has a script that commits midway and is broken in production too.
package acme

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Each folder of releases holds what is new against the one before it; a file ".delete" in it
// lists, one a line, the files that go.
//
//go:embed all:releases
var releases embed.FS

//go:embed all:estate
var estate embed.FS

// Releases are the names of the releases, in order.
var Releases = []string{"r1", "r2", "r3", "r4", "r5"}

// Further are releases after those, which only the full story tells of.
var Further = []string{"r6", "r7"}

const deletions = ".delete"

// story is what the developers wrote in their commits.
var story = map[string]string{
	"r1": "Docks, labels and the cut-off hour",
	"r2": "acme_dock: a delivery knows when its lorry is loaded",
	"r3": "acme_dock: capacity of a dock; acme_label: the dock on the label",
	"r4": "acme_label: print labels on the spooler; mind references without a dock",
	"r5": "acme_dock: loading class, half pallets; acme_label: a broken printer stops no lorry",
	"r6": "acme_label: the routes of the lorries are confirmed",
	"r7": "acme_label: labels for the carrier's new scanners, and none without one",
}

// WriteSource makes a Git repository in dir, which must not exist or be empty, with one commit
// and one tag for each release, and returns the commits by release. They are the same each time.
func WriteSource(ctx context.Context, dir string) (map[string]string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the addons' repository: %w", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		return nil, fmt.Errorf("making the addons' repository: %s must be an empty folder (%w)", dir, err)
	}
	if _, err := git(ctx, dir, time.Time{}, "init", "-q", "-b", "main"); err != nil {
		return nil, err
	}
	commits := map[string]string{}
	for i, release := range slices.Concat(Releases, Further) {
		if err := WriteRelease(dir, release); err != nil {
			return nil, err
		}
		at := time.Date(2026, time.March, 2+7*i, 9, 0, 0, 0, time.UTC)
		for _, args := range [][]string{
			{"add", "-A"},
			{"commit", "-q", "--no-gpg-sign", "-m", story[release]},
			{"tag", release},
		} {
			if _, err := git(ctx, dir, at, args...); err != nil {
				return nil, err
			}
		}
		commit, err := git(ctx, dir, at, "rev-parse", "HEAD")
		if err != nil {
			return nil, err
		}
		commits[release] = commit
	}
	return commits, nil
}

// WriteRelease lays one release over the one before it, which dir holds.
func WriteRelease(dir, release string) error {
	return overlay(releases, "releases/"+release, dir)
}

// Where the routers of the estate's environments listen.
const (
	TestAddress       = "127.0.0.1:18070"
	ProductionAddress = "127.0.0.1:18069"
)

// WriteEstate writes the estate into dir, with other addresses (host:port) for the routers where
// these are taken; empty leaves the estate's own.
func WriteEstate(dir, testAddress, productionAddress string) error {
	if err := overlay(estate, "estate", dir); err != nil {
		return err
	}
	for _, change := range [][3]string{
		{"test.yaml", TestAddress, testAddress}, {"production.yaml", ProductionAddress, productionAddress},
	} {
		if change[2] == "" || change[2] == change[1] {
			continue
		}
		file := filepath.Join(dir, change[0])
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if bytes.Count(content, []byte(change[1])) != 1 {
			return fmt.Errorf("estate file %s does not name %s once", change[0], change[1])
		}
		content = bytes.Replace(content, []byte(change[1]), []byte(change[2]), 1)
		if err := os.WriteFile(file, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Fingerprint is a hash over the files of a release and of those before it: what is cached for
// one fingerprint need not be made again.
func Fingerprint(release string) (string, error) {
	sum := sha256.New()
	for _, name := range Releases {
		err := fs.WalkDir(releases, "releases/"+name, func(file string, entry fs.DirEntry, err error) error {
			if err != nil || skip(file, entry) {
				return err
			}
			content, err := releases.ReadFile(file)
			fmt.Fprintf(sum, "%s %d\n%s", file, len(content), content)
			return err
		})
		if err != nil {
			return "", fmt.Errorf("release %s: %w", name, err)
		}
		if name == release {
			return hex.EncodeToString(sum.Sum(nil)), nil
		}
	}
	return "", fmt.Errorf("there is no release %q; there are %s", release, strings.Join(Releases, ", "))
}

// skip says whether a file is none of the developers'.
func skip(file string, entry fs.DirEntry) bool {
	return entry.IsDir() || strings.HasSuffix(file, ".pyc")
}

func overlay(from fs.FS, root, dir string) error {
	return fs.WalkDir(from, root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || skip(file, entry) {
			return err
		}
		content, err := fs.ReadFile(from, file)
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(file, root+"/")
		if name == deletions {
			return remove(dir, content)
		}
		target := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		return os.WriteFile(target, content, 0o644)
	})
}

// Servers has every environment of an estate use these servers, given as fields of kind Environment, and not those that waybill up brings along.
func Servers(dir, fields string) error {
	for _, environment := range []string{"test", "production"} {
		if err := declare(dir, environment, fields); err != nil {
			return err
		}
	}
	return nil
}

// declare adds fields to an environment of an estate.
func declare(dir, environment, fields string) error {
	file := filepath.Join(dir, environment+".yaml")
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	const budget = "\nhold_budget: "
	if bytes.Count(content, []byte(budget)) != 1 {
		return fmt.Errorf("estate file %s has no hold_budget to put the rest beside", file)
	}
	return os.WriteFile(file, bytes.Replace(content, []byte(budget), []byte("\n"+strings.TrimSuffix(fields, "\n")+budget), 1), 0o644)
}

// RequireRehearsal has an environment of an estate let in only what was rehearsed.
func RequireRehearsal(dir, environment string) error {
	return declare(dir, environment, "rehearsal: required")
}

// Classifications is the file of an estate in which people say how releases may roll.
const Classifications = "classifications.yaml"

// ClassifyBatches has people say of a release, and of no other, that a script of it commits by itself.
func ClassifyBatches(dir, release string) error {
	text := "kind: Classification\nrelease: " + release + "\nclass: breaking\ntransactional: false\n" +
		"reason: its script commits after each batch, so it needs a frozen window; said by its developers\n"
	return os.WriteFile(filepath.Join(dir, Classifications), []byte(text), 0o644)
}

// JudgeValidation has an environment of an estate take releases back under which deliveries take longer to validate.
func JudgeValidation(dir, environment string) error {
	const steps, judged = "  steps: [25, 50]\n", "  steps: [25]\n  signals:\n    - {signal: picking_validate.seconds, role: trigger, tolerance: 15%, importance: 20, required: true}\n"
	file := filepath.Join(dir, environment+".yaml")
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if bytes.Count(content, []byte(steps)) != 1 {
		return fmt.Errorf("estate file %s has no steps to put the signal beside", file)
	}
	return os.WriteFile(file, bytes.Replace(content, []byte(steps), []byte(judged), 1), 0o644)
}

// Approvers are the users who may approve in production once AskPeople has been called.
var Approvers = []string{"ines", "jonas"}

// AskPeople has production ask for an approval, and gives it a window: it opens at a time, to the second, and lasts half a day.
func AskPeople(dir string, opens time.Time) error {
	if err := declare(dir, "production", "approvals: {}"); err != nil {
		return err
	}
	people := "# Who may say yes in production. Their tokens are the server's matter.\nkind: Access\nusers:\n"
	for _, name := range Approvers {
		people += "  - name: " + name + "\n    roles: [{role: approver, environments: [production]}]\n"
	}
	for name, text := range map[string]string{
		"people.yaml": people,
		"calendar.yaml": "# When the warehouse can bear a change; the file is exported from its own calendar.\nkind: Calendar\nname: warehouse\ntimezone: Europe/Berlin\n" +
			"windows:\n  - name: quiet\n    ical: quiet.ics\n    applies_to: {environments: [production]}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return OpenAt(dir, opens)
}

// OpenAt moves the window of AskPeople.
func OpenAt(dir string, opens time.Time) error {
	const moment = "20060102T150405Z"
	from, to := opens.UTC().Format(moment), opens.Add(12*time.Hour).UTC().Format(moment)
	lines := []string{"BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//Acme//Warehouse//EN", "BEGIN:VEVENT", "UID:quiet@acme.example", "SUMMARY:Quiet hours",
		"DTSTAMP:" + from, "DTSTART:" + from, "DTEND:" + to, "END:VEVENT", "END:VCALENDAR", ""}
	return os.WriteFile(filepath.Join(dir, "quiet.ics"), []byte(strings.Join(lines, "\r\n")), 0o644)
}

// remove takes away the listed files; one that is not there is a mistake in the list.
func remove(dir string, list []byte) error {
	lines := bufio.NewScanner(bytes.NewReader(list))
	for lines.Scan() {
		name := path.Clean(strings.TrimSpace(lines.Text()))
		if name == "." {
			continue
		}
		if !filepath.IsLocal(name) {
			return fmt.Errorf("%s names %q, which is outside the repository", deletions, name)
		}
		if err := os.Remove(filepath.Join(dir, filepath.FromSlash(name))); err != nil {
			return fmt.Errorf("%s: %w", deletions, err)
		}
	}
	return lines.Err()
}

// git runs git on the repository in dir, without the settings of whoever runs it.
func git(ctx context.Context, dir string, at time.Time, args ...string) (string, error) {
	command := exec.CommandContext(ctx, "git", args...)
	command.Dir = dir
	stamp := at.Format(time.RFC3339)
	command.Env = append(os.Environ(),
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Acme IT", "GIT_AUTHOR_EMAIL=it@acme.example", "GIT_AUTHOR_DATE="+stamp,
		"GIT_COMMITTER_NAME=Acme IT", "GIT_COMMITTER_EMAIL=it@acme.example", "GIT_COMMITTER_DATE="+stamp,
	)
	var errors bytes.Buffer
	command.Stderr = &errors
	output, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("git %s in %s: %w: %s", args[0], dir, err, strings.TrimSpace(errors.String()))
	}
	return strings.TrimSpace(string(output)), nil
}
