package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/gate"
)

func (a *app) gatePolicies() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use: "policy", Aliases: []string{"policies", "gate", "gates"},
		Short: "List, show, test and explain the policies of an estate",
		Long: `Policies are rules that must hold before a promotion touches anything: conditions in CEL over
facts (docs/gates.md lists them), or ready ones by name. They are read from the estate named by
--estate, else from that of the server that runs on the data folder.`,
	}
	cmd.PersistentFlags().StringVar(&dir, "estate", "", "folder with the declared state; default: the server's")
	var library bool
	list := &cobra.Command{Use: "list", Short: "List policies and their rules", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if library {
				return a.listLibrary()
			}
			declared, err := a.declaredPolicies(cmd.Context(), dir)
			if err != nil {
				return err
			}
			return a.print(noNil(declared.Policies), func(w io.Writer) { policyTable(w, declared.Policies) })
		}}
	list.Flags().BoolVar(&library, "library", false, "list the ready rules instead")
	show := &cobra.Command{Use: "show POLICY", Short: "Show a policy's rules as they are evaluated", Args: exactly("POLICY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			declared, err := a.declaredPolicies(cmd.Context(), dir)
			if err != nil {
				return err
			}
			return a.showPolicy(declared, args[0])
		}}
	lint := &cobra.Command{Use: "lint", Short: "Look for rules that do not do what they seem to",
		Long: `Try each rule on many facts made at random, those that it compares with above all, and look
for rules that never keep anything out or can never be met, for parts without effect, and for
environments, tenants, rings and labels that the estate does not have.

Exit code 0: nothing found. 1: warnings. 2: the estate or a rule cannot be read.`, Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			declared, err := a.declaredPolicies(cmd.Context(), dir)
			if err != nil {
				return err
			}
			return a.lintPolicies(declared)
		}}
	test := &cobra.Command{Use: "test [FILE…]", Short: "Try the policies on cases: facts, and what is expected",
		Long: `Evaluate the policies on the cases of each FILE, and compare the answers with what is expected.
Without FILE, all files of the estate's folder that end in _test.yaml. docs/gates.md shows one.

Exit code 0: all as expected. 1: not so. 2: something cannot be read.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			declared, err := a.declaredPolicies(cmd.Context(), dir)
			if err != nil {
				return usage{err}
			}
			return a.testPolicies(declared, args)
		}}
	explain := &cobra.Command{Use: "explain FILE", Short: "Explain what the policies answer to the facts in a file",
		Long: `Evaluate the policies on the facts of FILE, written as in a case, and explain the answer.
What keeps a promotion that is under way: waybill promotion show PROMOTION.

Exit code 0: it may go on. 1: it may not. 2: something cannot be read. 3: it waits.`, Args: exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			declared, err := a.declaredPolicies(cmd.Context(), dir)
			if err != nil {
				return usage{err}
			}
			return a.explainPolicies(declared, args[0])
		}}
	cmd.AddCommand(list, show, lint, test, explain)
	return cmd
}

func noNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// declaredPolicies reads the estate and checks all of its rules.
func (a *app) declaredPolicies(ctx context.Context, dir string) (*estate.Estate, error) {
	declared, err := a.estateOf(ctx, dir)
	if err != nil {
		return nil, err
	}
	if _, err := gate.Compile(declared.Policies); err != nil {
		return nil, usage{fmt.Errorf("read the estate in %s: %w", declared.Root, err)}
	}
	return declared, nil
}

func policyTable(w io.Writer, policies []estate.Policy) {
	if len(policies) == 0 {
		fmt.Fprintln(w, "The estate has no policy. See the ready rules: waybill policy list --library")
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "POLICY\tHOLDS FOR\tRULE\tSEVERITY\tCONDITION")
	for _, p := range policies {
		for i, r := range p.Rules {
			name, scope := p.Name, scopeOf(p)
			if i > 0 {
				name, scope = "", ""
			}
			condition := r.Expr
			if r.Use != "" {
				condition = "use: " + r.Use
				for _, parameter := range slices.Sorted(maps.Keys(r.With)) {
					condition += " " + parameter + "=" + r.With[parameter]
				}
			}
			severity := r.Severity
			if severity == "" {
				severity = gate.Deny
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", name, scope, r.ID, severity, cutTo(strings.Join(strings.Fields(condition), " "), 80))
		}
	}
	_ = t.Flush()
}

// scopeOf says in words for what a policy holds.
func scopeOf(p estate.Policy) string {
	var parts []string
	if len(p.Environments) > 0 {
		parts = append(parts, strings.Join(p.Environments, ", "))
	}
	for _, key := range slices.Sorted(maps.Keys(p.Tenants)) {
		parts = append(parts, key+"="+p.Tenants[key])
	}
	if len(p.Rings) > 0 {
		parts = append(parts, "ring "+strings.Join(p.Rings, ", "))
	}
	if len(p.Classes) > 0 {
		parts = append(parts, "class "+strings.Join(p.Classes, ", "))
	}
	if len(parts) == 0 {
		return "all"
	}
	return strings.Join(parts, "; ")
}

func (a *app) listLibrary() error {
	library := gate.Library()
	return a.print(library, func(w io.Writer) {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "USE\tWITH\tMEANS")
		for _, r := range library {
			var with []string
			for _, p := range r.Parameters {
				text := p.Name + ": " + p.Default
				if p.Default == "" {
					text = p.Name + ": (needed)"
				}
				with = append(with, text)
			}
			fmt.Fprintf(t, "%s\t%s\t%s\n", r.Name, strings.Join(with, "; "), r.Message)
		}
		_ = t.Flush()
	})
}

func (a *app) showPolicy(declared *estate.Estate, name string) error {
	var names []string
	for _, p := range declared.Policies {
		names = append(names, p.Name)
		if p.Name != name {
			continue
		}
		rules, err := gate.Show(p)
		if err != nil {
			return err
		}
		return a.print(map[string]any{"policy": p, "rules": rules}, func(w io.Writer) {
			fmt.Fprintf(w, "%s, holds for %s\n", p.Name, scopeOf(p))
			for _, r := range rules {
				fmt.Fprintf(w, "\n%s (%s)\n  %s\n", r.ID, r.Severity, strings.ReplaceAll(strings.TrimSpace(r.Expr), "\n", "\n  "))
				for _, line := range []struct{ name, text string }{{"says", r.Message}, {"why", r.Why}, {"reads", strings.Join(r.Reads, ", ")}, {"at", r.Place}, {"emergency", r.Emergency}} {
					if line.text != "" {
						fmt.Fprintf(w, "    %s: %s\n", line.name, line.text)
					}
				}
				for _, x := range r.Exceptions {
					fmt.Fprintf(w, "    lets pass until %s: %s (%s)\n", x.Expires, strings.Join(slices.DeleteFunc([]string{x.Environment, x.Tenant, x.Release}, func(s string) bool { return s == "" }), ", "), x.Reason)
				}
			}
		})
	}
	hint := "it has none"
	if near, ok := estate.Nearest(name, names); ok {
		hint = "did you mean " + near + "?"
	} else if len(names) > 0 {
		hint = "it has " + strings.Join(names, ", ")
	}
	return usagef("the estate has no policy %q; %s", name, hint)
}

func (a *app) lintPolicies(declared *estate.Estate) error {
	found, err := gate.Lint(declared)
	if err != nil {
		return usage{err}
	}
	if err := a.print(map[string]any{"policies": len(declared.Policies), "warnings": noNil(found)}, func(w io.Writer) {
		for _, p := range found {
			fmt.Fprintln(w, p.Error())
		}
		if len(found) == 0 {
			fmt.Fprintf(w, "%s, nothing to warn of\n", counted(len(declared.Policies), "policy", "policies"))
		}
	}); err != nil {
		return err
	}
	if len(found) > 0 {
		return exit(exitFailed)
	}
	return nil
}

// casesOf is the result of one file.
type casesOf struct {
	File    string            `json:"file"`
	Results []gate.CaseResult `json:"results"`
}

func (a *app) testPolicies(declared *estate.Estate, files []string) error {
	if len(files) == 0 {
		var err error
		if files, err = estate.CasesFiles(declared.Root); err != nil {
			return usage{err}
		}
		if len(files) == 0 {
			return usagef("there is no file with cases: %s has none that ends in _test.yaml", declared.Root)
		}
	}
	set, err := gate.Compile(declared.Policies)
	if err != nil {
		return usage{err}
	}
	var all []casesOf
	var results []gate.CaseResult
	failed := 0
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			return usage{err}
		}
		cases, err := gate.ReadCases(content)
		if err != nil {
			return usagef("%s: %w", name, err)
		}
		found := set.Run(cases)
		if short, err := filepath.Rel(declared.Root, name); err == nil && filepath.IsLocal(short) {
			name = short
		}
		all = append(all, casesOf{name, found})
		results = append(results, found...)
	}
	for _, r := range results {
		if !r.Passed {
			failed++
		}
	}
	untested := set.Untested(results)
	if err := a.print(map[string]any{"files": all, "failed": failed, "untested": noNil(untested)}, func(w io.Writer) { tellCases(w, all, failed, len(results), untested) }); err != nil {
		return err
	}
	if failed > 0 {
		return exit(exitFailed)
	}
	return nil
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func tellCases(w io.Writer, all []casesOf, failed, total int, untested []string) {
	for _, file := range all {
		fmt.Fprintln(w, file.File)
		for _, r := range file.Results {
			if r.Passed {
				fmt.Fprintf(w, "  ok    %s: %s\n", r.Case.Name, r.Result.Verdict)
				continue
			}
			fmt.Fprintf(w, "  FAIL  %s\n", r.Case.Name)
			for _, p := range r.Problems {
				fmt.Fprintf(w, "        %s\n", p)
			}
			if r.Result.Verdict != "" {
				fmt.Fprintf(w, "        %s\n", strings.ReplaceAll(strings.TrimSpace(r.Result.Text()), "\n", "\n        "))
			}
		}
	}
	fmt.Fprintf(w, "%s, %d failed\n", counted(total, "case", "cases"), failed)
	if len(untested) > 0 {
		fmt.Fprintf(w, "no case makes these rules fail: %s\n", strings.Join(untested, ", "))
	}
}

func (a *app) explainPolicies(declared *estate.Estate, name string) error {
	content, err := os.ReadFile(name)
	if err != nil {
		return usage{err}
	}
	facts, err := gate.ReadFacts(content)
	if err != nil {
		return usagef("%s: %w", name, err)
	}
	set, err := gate.Compile(declared.Policies)
	if err != nil {
		return usage{err}
	}
	result := set.Evaluate(facts)
	if err := a.print(result, func(w io.Writer) { fmt.Fprint(w, result.Text()) }); err != nil {
		return err
	}
	switch result.Verdict {
	case gate.Waits:
		return exit(exitWaiting)
	case gate.Denied:
		return exit(exitFailed)
	}
	return nil
}
