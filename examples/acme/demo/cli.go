package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// cli is the waybill binary on one data folder.
type cli struct {
	binary string
	data   string
}

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

// ask runs a verb and decodes the JSON that it prints. What it says on standard error is part of
// the error.
func (c cli) ask(ctx context.Context, result any, args ...string) error {
	command := exec.CommandContext(ctx, c.binary, append(args, "--data", c.data, "-o", "json")...)
	var out, complaint bytes.Buffer
	command.Stdout, command.Stderr = &out, &complaint
	if err := command.Run(); err != nil {
		return fmt.Errorf("waybill %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(complaint.String()))
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(out.Bytes(), result); err != nil {
		return fmt.Errorf("waybill %s: its answer is not the JSON that was expected: %w: %.300s", strings.Join(args, " "), err, out.Bytes())
	}
	return nil
}

// show runs a verb as a person would, its lines indented among the story's, and returns its exit code.
func (c cli) show(ctx context.Context, args ...string) (int, error) {
	fmt.Printf("    $ waybill %s\n", strings.Join(args, " "))
	command := exec.CommandContext(ctx, c.binary, append(args, "--data", c.data)...)
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

// server is `waybill up`, in the foreground of its own process.
type server struct {
	process *exec.Cmd
	ended   chan struct{}
	err     error // once ended is closed
	log     string
}

// up starts the server and returns once it says that it is ready.
func (c cli) up(ctx context.Context, estate, listen, logFile string) (*server, error) {
	file, err := os.Create(logFile)
	if err != nil {
		return nil, err
	}
	defer file.Close() // the child has its own descriptor
	// Not CommandContext: it is stopped with SIGTERM, by stop, and so has the time to end well.
	process := exec.Command(c.binary, "up", "--data", c.data, "--estate", estate, "--listen", listen)
	process.Stderr = file
	// A Ctrl-C in the terminal is for the demo, which then stops the server.
	process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	out, err := process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := process.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", c.binary, err)
	}
	s := &server{process: process, ended: make(chan struct{}), log: logFile}
	ready := make(chan struct{})
	go func() {
		defer close(s.ended)
		var once sync.Once
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), "waybill: ready on ") {
				once.Do(func() { close(ready) })
			}
		}
		_, _ = io.Copy(io.Discard, out)
		s.err = process.Wait()
	}()
	select {
	case <-ready:
		return s, nil
	case <-s.ended:
		return nil, fmt.Errorf("waybill up ended before it was ready: %w\n%s", s.err, tail(logFile))
	case <-ctx.Done():
		return nil, errors.Join(fmt.Errorf("waybill up was not ready in time: %w\n%s", ctx.Err(), tail(logFile)), s.stop())
	}
}

// stop asks the server to end and waits for it.
func (s *server) stop() error {
	select {
	case <-s.ended:
		return fmt.Errorf("waybill up ended by itself: %w\n%s", s.err, tail(s.log))
	default:
	}
	if err := s.process.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-s.ended:
		return s.err
	case <-time.After(60 * time.Second):
		_ = s.process.Process.Kill()
		return fmt.Errorf("waybill up did not stop within a minute of SIGTERM\n%s", tail(s.log))
	}
}

// tail is the end of a log file.
func tail(file string) string {
	content, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	return filepath.Base(file) + ":\n  " + strings.Join(lines[max(0, len(lines)-20):], "\n  ")
}
