package cli

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/runbook"
)

// situations are facts that between them bring up every command that a runbook may print.
func situations() map[string]runbook.Facts {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	r1, r2 := runbook.Release{Name: "r1", Digest: "sha256:1111111111111111", Commit: "c1"}, runbook.Release{Name: "r2", Digest: "sha256:2222222222222222", Commit: "c2"}
	tenant := runbook.Tenant{Name: "acme", Hosts: []string{"acme.example"}, Database: "acme_production", Owner: "wb_owner", Folder: "/d/acme_production", Hosting: "shared", With: 2,
		Serving: r2, Schema: r2, Pool: "r-22", Mode: "open", Last: &runbook.Promotion{ID: "p1", Release: "r2", Before: r1, Ended: now, Released: now, Checkpoint: "c1", Tenants: []string{"acme"}},
		Points: []runbook.Point{{ID: "c1", At: now.Add(-time.Hour), Release: r1}}}
	embedded := runbook.Facts{Now: now, Tenant: tenant,
		Installation: runbook.Installation{Data: "/var/lib/way bill", Estate: "/srv/estate", Embedded: true, Bucket: "file:///o", BucketHere: true, Key: "/k", RegistryHere: true},
		Environment:  runbook.Environment{Name: "production", Before: "test", Server: runbook.Server{Embedded: true, Address: "/run"}, Tenants: []runbook.Tenant{tenant, {Name: "bolt"}}}}
	for range runbook.MaxPoints {
		embedded.Tenant.Points = append(embedded.Tenant.Points, tenant.Points[0])
	}
	served := embedded
	served.Installation.Embedded, served.Installation.Bucket, served.Installation.BucketHere, served.Installation.Remote = false, "s3://b?region=x", false, "git@example:estate"
	served.Environment.Server = runbook.Server{URL: "postgres://admin@db/postgres", Address: "db", Password: "env:PW"}
	served.Tenant.Busy = "p2"
	breaking := *tenant.Last
	breaking.Breaking = true
	served.Tenant.Last = &breaking
	bare := embedded
	bare.Tenant = runbook.Tenant{Name: "acme", Serving: r2}
	first := embedded
	first.Tenant.Last = &runbook.Promotion{ID: "p1"}
	return map[string]runbook.Facts{"embedded": embedded, "served": served, "bare": bare, "first": first}
}

// Every verb and flag that a runbook prints exists, and takes as many arguments.
func TestRunbookCommandsAreReal(t *testing.T) {
	seen := map[string]int{}
	for name, facts := range situations() {
		for _, book := range []runbook.Book{runbook.Of(facts), runbook.OfEnvironment(facts)} {
			for _, line := range append(book.Commands(), inText(book)...) {
				if !strings.HasPrefix(line, "waybill ") {
					continue
				}
				path, err := understood(line)
				require.NoError(t, err, "%s: %s", name, line)
				seen[path]++
			}
		}
	}
	for _, verb := range []string{"rollback", "restore", "restore list", "restore drop", "recover", "checkpoint create", "tenant create", "promote", "build", "up", "serve", "doctor", "status", "rehearse", "runbook environment"} {
		require.Positive(t, seen["waybill "+verb], "no runbook names %s: %v", verb, seen)
	}
	for _, wrong := range []string{"waybill recoover a/b", "waybill restore a/b", "waybill restore a/b c --over", "waybill promotion lst", "waybill"} {
		_, err := understood(wrong)
		require.Error(t, err, wrong)
	}
}

// inText are the commands that stand in the text of a book.
func inText(book runbook.Book) (lines []string) {
	for _, s := range book.Sections {
		for _, p := range s.Parts {
			for i, word := range strings.Split(p.Text, "`") {
				if i%2 == 1 {
					lines = append(lines, word)
				}
			}
		}
	}
	return lines
}

// understood is the verb of a line for a shell, as the command line reads it.
func understood(line string) (string, error) {
	words, err := split(line)
	if err != nil {
		return "", err
	}
	cmd, rest, err := (&app{out: io.Discard, err: io.Discard}).root().Find(words[1:])
	if err != nil {
		return "", err
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return "", err
	}
	if cmd.HasSubCommands() && !strings.Contains(cmd.Use, " ") { // it only holds others
		return "", fmt.Errorf("%s wants a verb", cmd.CommandPath())
	}
	return cmd.CommandPath(), cmd.ValidateArgs(cmd.Flags().Args())
}

// split takes apart what runbook quotes.
func split(line string) (words []string, err error) {
	var word strings.Builder
	quoted := false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\'':
			quoted = !quoted
		case quoted:
			word.WriteByte(c)
		case c == '\\' && i+1 < len(line):
			i++
			word.WriteByte(line[i])
		case c == ' ':
			words = append(words, word.String())
			word.Reset()
		default:
			word.WriteByte(c)
		}
	}
	if quoted {
		return nil, fmt.Errorf("%s: a quote is left open", line)
	}
	return append(words, word.String()), nil
}

func TestRunbookIsPrinted(t *testing.T) {
	book := runbook.Of(situations()["embedded"])
	data := fake(t, func(r *http.Request) (int, any) {
		require.Equal(t, "/api/v1/runbooks/production/acme", r.URL.Path)
		return 200, book
	})
	out, err, code := said(t, "runbook", "tenant", "production/acme", "--data", data)
	require.Equal(t, exitDone, code, err)
	require.Equal(t, book.Markdown(), out)
	_, err, code = said(t, "runbook", "tenant", "acme", "--data", data)
	require.Equal(t, exitUsage, code)
	require.Contains(t, err, "ENVIRONMENT/TENANT")
}
