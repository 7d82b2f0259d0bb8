package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/attest"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/internal/server"
)

func (a *app) ledger() *cobra.Command {
	cmd := &cobra.Command{Use: "ledger", Short: "The record of everything that was decided and done: list, verify, export it"}
	cmd.AddCommand(a.ledgerList(), a.ledgerShow(), a.ledgerVerify(), a.ledgerHead(), a.ledgerExport())
	return cmd
}

func (a *app) ledgerList() *cobra.Command {
	var promotion, environment, tenant, actor, kind, text, from, to string
	var limit int
	var before int64
	cmd := &cobra.Command{Use: "list", Short: "List entries, newest first", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var found []api.LedgerEntry
			query := url.Values{"promotion": {promotion}, "environment": {environment}, "tenant": {tenant}, "actor": {actor}, "kind": {kind}, "text": {text}, "from": {from}, "to": {to},
				"limit": {strconv.Itoa(limit)}, "before": {strconv.FormatInt(before, 10)}}
			if err := a.call(cmd.Context(), "GET", "/api/v1/ledger?"+query.Encode(), nil, &found); err != nil {
				return err
			}
			return a.print(found, func(w io.Writer) {
				t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
				fmt.Fprintln(t, "ENTRY\tWHEN\tWHO\tWHAT\tWHERE\tPROMOTION\tSAYS")
				for _, e := range found {
					where := e.Environment
					if e.Tenant != "" {
						where += "/" + e.Tenant
					}
					fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", e.Sequence, e.Time.Local().Format(time.DateTime), e.Actor, e.Kind, where, e.Promotion, cutTo(payloadLine(e.Payload), 90))
				}
				_ = t.Flush()
			})
		}}
	cmd.Flags().StringVar(&promotion, "promotion", "", "only of this one")
	cmd.Flags().StringVar(&environment, "env", "", "only of this one")
	cmd.Flags().StringVar(&tenant, "tenant", "", "only of this one")
	cmd.Flags().StringVar(&actor, "actor", "", "only what this one did")
	cmd.Flags().StringVar(&kind, "kind", "", "only this kind, or those that begin so")
	cmd.Flags().StringVar(&text, "text", "", "only what holds this text")
	cmd.Flags().StringVar(&from, "from", "", "first day (UTC), like 2026-11-01, or moment")
	cmd.Flags().StringVar(&to, "to", "", "last day (UTC), or moment")
	cmd.Flags().IntVar(&limit, "limit", 50, "at most so many")
	cmd.Flags().Int64Var(&before, "before", 0, "only entries before this one")
	return cmd
}

// payloadLine is what an entry holds, in the order that people look for.
func payloadLine(payload any) string {
	p, ok := payload.(map[string]any)
	if !ok {
		return fmt.Sprint(payload)
	}
	line := ""
	for _, key := range []string{"step", "outcome", "reason", "detail", "release_name", "operation", "version", "kind", "secret", "secrets", "for", "to"} {
		s, ok := p[key].(string)
		if list, several := p[key].([]any); several {
			words := make([]string, len(list))
			for i, word := range list {
				words[i] = fmt.Sprint(word)
			}
			s, ok = strings.Join(words, ", "), true
		}
		if ok && s != "" {
			if line != "" {
				line += ": "
			}
			line += s
		}
	}
	return line
}

func (a *app) ledgerShow() *cobra.Command {
	return &cobra.Command{Use: "show ENTRY", Short: "Show one entry with all it holds", Args: exactly("ENTRY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := strconv.ParseInt(args[0], 10, 64); err != nil {
				return usagef("%q: expected the number of an entry; see: waybill ledger list", args[0])
			}
			var e api.LedgerEntry
			if err := a.call(cmd.Context(), "GET", "/api/v1/ledger/entries/"+args[0], nil, &e); err != nil {
				return err
			}
			return a.print(e, func(w io.Writer) {
				t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
				for _, line := range [][2]string{{"entry", args[0]}, {"when", e.Time.Local().Format(time.RFC3339Nano)}, {"who", e.Actor}, {"what", e.Kind}, {"environment", e.Environment},
					{"tenant", e.Tenant}, {"promotion", e.Promotion}, {"rollout", e.Rollout}, {"release", e.Release}, {"previous", e.Previous}, {"hash", e.Hash}} {
					if line[1] != "" {
						fmt.Fprintf(t, "%s\t%s\n", line[0], line[1])
					}
				}
				_ = t.Flush()
				content, err := json.MarshalIndent(e.Payload, "", "  ")
				if err == nil {
					fmt.Fprintf(w, "%s\n", content)
				}
			})
		}}
}

func (a *app) ledgerVerify() *cobra.Command {
	var keyFiles, headFiles []string
	var file string
	cmd := &cobra.Command{
		Use: "verify", Short: "Check that no entry was altered, removed, moved or inserted", Args: exactly(),
		Long: `Check the whole ledger, row by row: that each entry is chained to the one before it, and that the
signed heads fit. It is computed here, not by the server. Trusted are the keys of the data folder, or
those given with --key. Heads that were kept elsewhere (waybill ledger head) are given with --heads: they
find out whoever has both the database and the server's disk. With --file, an export is checked instead,
and no server is needed. Exit code 0: nothing was touched; 1: the first thing that is wrong is told.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := ledger.Verification{}
			var err error
			if v.Keys, err = a.trustedKeys(keyFiles); err != nil {
				return err
			}
			if v.Anchors, err = a.anchors(headFiles, file == ""); err != nil {
				return err
			}
			v.Lines = func() iter.Seq2[ledger.Line, error] { return a.ledgerLines(cmd.Context()) }
			v.Now = time.Now()
			if file != "" {
				v.Lines, v.Now = func() iter.Seq2[ledger.Line, error] { return fileLines(file) }, time.Time{}
			}
			report, err := v.Verify()
			if err != nil {
				return err
			}
			if err := a.print(report, func(w io.Writer) { showLedgerReport(w, report, len(v.Anchors)) }); err != nil {
				return err
			}
			if !report.OK {
				return exit(exitFailed)
			}
			return nil
		},
	}
	cmd.Flags().StringArrayVar(&keyFiles, "key", nil, "file with a public key (PEM) that signs heads; may be given more than once")
	cmd.Flags().StringArrayVar(&headFiles, "heads", nil, "file with heads that were kept elsewhere; may be given more than once")
	cmd.Flags().StringVar(&file, "file", "", "an export, instead of the server's ledger")
	return cmd
}

func showLedgerReport(w io.Writer, r ledger.Report, anchors int) {
	fmt.Fprintf(w, "ledger %s\n", r.Ledger)
	if p := r.Problem; p != nil {
		fmt.Fprintf(w, "%s at entry %d: %s\n", bad.Render(string(p.Fault)), p.Sequence, p.Detail)
		fmt.Fprintf(w, "good up to entry %d; what to do: docs/ledger.md\n", r.Entries)
		return
	}
	fmt.Fprintf(w, "%s: %d entries, the last %.16s…\n", good.Render("nothing was touched"), r.Entries, r.Hash)
	if r.Heads == 0 {
		fmt.Fprintln(w, "no head covers it yet; the server signs one within seconds")
		return
	}
	fmt.Fprintf(w, "signed heads that fit: %d, the newest at entry %d", r.Heads, r.Covered)
	if anchors > 0 {
		fmt.Fprintf(w, "; kept outside of the database: %d", anchors)
	}
	fmt.Fprintln(w)
}

// trustedKeys are those of the files, or of the data folder where none is given.
func (a *app) trustedKeys(files []string) ([]attest.Key, error) {
	if len(files) == 0 {
		own, err := a.ownKeys()
		return attest.OwnKeys(own), err
	}
	var list []attest.Key
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, usage{fmt.Errorf("read the public key: %w", err)}
		}
		public, err := attest.ParsePublicKey(content)
		if err != nil {
			return nil, usage{fmt.Errorf("%s: %w", file, err)}
		}
		list = append(list, attest.PublicKeys(public)...)
	}
	return list, nil
}

// anchors are the heads of the files, and with own that which the server keeps beside its database.
func (a *app) anchors(files []string, own bool) ([]ledger.Head, error) {
	var list []ledger.Head
	if own {
		kept, err := ledger.ReadHeads(filepath.Join(a.data, server.HeadFile))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		list = kept
	}
	for _, file := range files {
		kept, err := ledger.ReadHeads(file)
		if err != nil {
			return nil, usage{fmt.Errorf("read the heads: %w", err)}
		}
		list = append(list, kept...)
	}
	ledger.SortHeads(list)
	return list, nil
}

func fileLines(path string) iter.Seq2[ledger.Line, error] {
	return func(yield func(ledger.Line, error) bool) {
		f, err := os.Open(path)
		if err != nil {
			yield(ledger.Line{}, err)
			return
		}
		defer func() { _ = f.Close() }()
		ledger.Read(f)(yield)
	}
}

// ledgerLines streams the server's ledger.
func (a *app) ledgerLines(ctx context.Context) iter.Seq2[ledger.Line, error] {
	return func(yield func(ledger.Line, error) bool) {
		stream, err := a.stream(ctx, "/api/v1/ledger/export")
		if err != nil {
			yield(ledger.Line{}, err)
			return
		}
		defer func() { _ = stream.Close() }()
		ledger.Read(stream)(yield)
	}
}

// stream asks for an answer of any length; the caller closes it.
func (a *app) stream(ctx context.Context, path string) (io.ReadCloser, error) {
	where, token, err := a.address()
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, where+path, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, &unreachable{where, err}
	}
	if response.StatusCode != http.StatusOK {
		defer func() { _ = response.Body.Close() }()
		content, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
		if err != nil {
			return nil, &unreachable{where, err}
		}
		return nil, refused(response.StatusCode, content)
	}
	return response.Body, nil
}

func (a *app) ledgerHead() *cobra.Command {
	return &cobra.Command{
		Use: "head", Short: "Print a signed head over the ledger as it is now", Args: exactly(),
		Long: `Print a signed head over the ledger as it is now, a line of JSON. Kept where the server cannot
reach (in a Git repository, in a mail), it holds every entry up to now in place: append it to a file, and
give that to waybill ledger verify --heads.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var heads []ledger.Head
			if err := a.call(cmd.Context(), "GET", "/api/v1/ledger/heads?limit=1", nil, &heads); err != nil {
				return err
			}
			if len(heads) == 0 {
				return errors.New("the ledger has no head")
			}
			return json.NewEncoder(a.out).Encode(heads[0])
		},
	}
}

func (a *app) ledgerExport() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "export", Short: "Write the whole ledger to a file, or to the standard output", Args: exactly(),
		Long: `Write the whole ledger as JSON, one object a line: its name, every entry, and every signed head
after the entry that it was signed at. waybill ledger verify --file FILE --key PUBLIC-KEY checks it
anywhere.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out == "" {
				return ledger.Write(a.out, a.ledgerLines(cmd.Context()))
			}
			f, err := os.Create(out)
			if err != nil {
				return err
			}
			if err := errors.Join(ledger.Write(f, a.ledgerLines(cmd.Context())), f.Close()); err != nil {
				_ = os.Remove(out) // half of a ledger is none
				return err
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "file to write to")
	return cmd
}
