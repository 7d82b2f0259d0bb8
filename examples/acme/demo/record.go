package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/waybill-dev/waybill/examples/acme/waybill"
)

// promotion is what `waybill promotion show -o json` says of one.
type promotion struct {
	ID          string    `json:"id"`
	Kind        string    `json:"kind"`
	Environment string    `json:"environment"`
	Release     string    `json:"release"`
	ReleaseName string    `json:"release_name"`
	Class       string    `json:"class"`
	Outcome     string    `json:"outcome"`
	Created     time.Time `json:"created"`
	Finished    time.Time `json:"finished"`
	Rollouts    []rollout `json:"rollouts"`
}

type rollout struct {
	Tenant      string  `json:"tenant"`
	Outcome     string  `json:"outcome"`
	Reason      string  `json:"reason"`
	HeldSeconds float64 `json:"held_seconds"`
	Predicted   float64 `json:"predicted_seconds"` // of HeldSeconds, by a rehearsal
	Checkpoint  string  `json:"checkpoint"`
	Steps       []step  `json:"steps"`
}

type step struct {
	Name     string    `json:"name"`
	Undo     bool      `json:"undo"`
	Outcome  string    `json:"outcome"`
	Detail   string    `json:"detail"`
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished"`
}

// one is the only rollout: each environment of the story has one tenant.
func (p promotion) one() rollout {
	if len(p.Rollouts) == 0 {
		return rollout{}
	}
	return p.Rollouts[0]
}

// step returns the last try at a step; false when it was never begun.
func (r rollout) step(name string, undo bool) (step, bool) {
	for i := len(r.Steps) - 1; i >= 0; i-- {
		if r.Steps[i].Name == name && r.Steps[i].Undo == undo && r.Steps[i].Outcome != "skipped" {
			return r.Steps[i], true
		}
	}
	return step{}, false
}

// show runs a verb as a person would, its lines indented among the story's, and returns its exit code.
func show(ctx context.Context, c waybill.CLI, args ...string) (int, error) {
	fmt.Printf("    $ waybill %s\n", strings.Join(args, " "))
	command := exec.CommandContext(ctx, c.Binary, append(args, "--data", c.Data)...)
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = 10 * time.Second
	reader, writer := io.Pipe()
	command.Stdout, command.Stderr = writer, writer
	var done sync.WaitGroup
	done.Go(func() {
		lines := bufio.NewScanner(reader)
		for lines.Scan() {
			fmt.Println("    " + lines.Text())
		}
		_, _ = io.Copy(io.Discard, reader) // a line too long must not block the command
	})
	err := command.Run()
	writer.Close()
	done.Wait()
	var code *exec.ExitError
	if errors.As(err, &code) && code.ExitCode() >= 0 {
		return code.ExitCode(), nil
	}
	if err != nil {
		return 0, fmt.Errorf("waybill %s: %w", strings.Join(args, " "), err)
	}
	return 0, nil
}
