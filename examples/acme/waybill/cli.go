// Package waybill drives the waybill binary as a person or a script would: verbs, and a server in a
// process of its own. It knows nothing but the command line.
package waybill

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// CLI is the binary on one data folder.
type CLI struct {
	Binary string
	Data   string
}

// Refused is returned by Ask when the verb ended with another exit code than 0.
type Refused struct {
	Verb      string
	Code      int
	Complaint string // standard error
	Output    string // standard output
}

func (r *Refused) Error() string {
	said := r.Complaint
	if said == "" {
		said = r.Output
	}
	return fmt.Sprintf("waybill %s: exit code %d: %s", r.Verb, r.Code, said)
}

// Ask runs a verb and decodes the JSON that it prints into result, unless that is nil. A *Refused
// carries the exit code.
func (c CLI) Ask(ctx context.Context, result any, args ...string) error {
	command := exec.CommandContext(ctx, c.Binary, append(args, "--data", c.Data, "-o", "json")...)
	var out, complaint bytes.Buffer
	command.Stdout, command.Stderr = &out, &complaint
	verb := strings.Join(args, " ")
	err := command.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		return &Refused{Verb: verb, Code: exit.ExitCode(), Complaint: strings.TrimSpace(complaint.String()), Output: strings.TrimSpace(out.String())}
	}
	if err != nil {
		return fmt.Errorf("waybill %s: %w: %s", verb, err, strings.TrimSpace(complaint.String()))
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(out.Bytes(), result); err != nil {
		return fmt.Errorf("waybill %s: its answer is not the JSON that was expected: %w: %.300s", verb, err, out.Bytes())
	}
	return nil
}
