package stage

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

// Server is one `waybill up`, in a process of its own.
type Server struct {
	Started time.Time     // just before the process began
	Ended   chan struct{} // closed once the process is gone
	process *exec.Cmd
	err     error // once Ended is closed
}

// LogFile is where all servers of the stage write, one after the other.
func (s *Stage) LogFile() string { return filepath.Join(s.Folder, "waybill.log") }

// Up starts the server, with further environment variables, and returns once it is ready. A server
// that ends before that is an error, which Server.Killed tells from others.
func (s *Stage) Up(ctx context.Context, environment ...string) error {
	if s.Server != nil && !s.Server.Gone() {
		return errors.New("the server is up already")
	}
	file, err := os.OpenFile(s.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer file.Close() // the child has its own descriptor
	fmt.Fprintf(file, "--- waybill up %s\n", strings.Join(environment, " "))
	// Not CommandContext: it is stopped with SIGTERM, and so has the time to end well.
	process := exec.Command(s.Binary, "up", "--data", s.Data(), "--estate", s.estate(), "--listen", s.Address)
	process.Env = append(os.Environ(), environment...)
	process.Stderr = file
	process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := process.StdoutPipe()
	if err != nil {
		return err
	}
	server := &Server{process: process, Ended: make(chan struct{}), Started: time.Now()}
	if err := process.Start(); err != nil {
		return fmt.Errorf("start %s: %w", s.Binary, err)
	}
	s.Server = server
	ready := make(chan struct{})
	go func() {
		defer close(server.Ended)
		var once sync.Once
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), "waybill: ready on ") {
				once.Do(func() { close(ready) })
			}
		}
		_, _ = io.Copy(io.Discard, out)
		server.err = process.Wait()
	}()
	select {
	case <-ready:
		return nil
	case <-server.Ended:
		return fmt.Errorf("waybill up ended before it was ready: %w\n%s", server.err, s.LogTail())
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("waybill up was not ready in time: %w\n%s", ctx.Err(), s.LogTail()), s.Down())
	}
}

// Gone says whether the process has ended.
func (v *Server) Gone() bool {
	select {
	case <-v.Ended:
		return true
	default:
		return false
	}
}

// Killed says whether the process has ended by SIGKILL.
func (v *Server) Killed() bool {
	if !v.Gone() {
		return false
	}
	var exit *exec.ExitError
	if !errors.As(v.err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// Down asks the server to end and waits for it. A server that is gone is no error.
func (s *Stage) Down() error {
	v := s.Server
	if v == nil || v.Gone() {
		return nil
	}
	if err := v.process.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	deadline := time.NewTimer(90 * time.Second)
	defer deadline.Stop()
	select {
	case <-v.Ended:
		return v.err
	case <-deadline.C:
		_ = v.process.Process.Kill()
		<-v.Ended
		return fmt.Errorf("waybill up did not stop within 90 s of SIGTERM\n%s", s.LogTail())
	}
}

// LogTail is the end of the server's log.
func (s *Stage) LogTail() string {
	content, err := os.ReadFile(s.LogFile())
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	return filepath.Base(s.LogFile()) + ":\n  " + strings.Join(lines[max(0, len(lines)-25):], "\n  ")
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
func (s *Stage) Ask(ctx context.Context, result any, args ...string) error {
	command := exec.CommandContext(ctx, s.Binary, append(args, "--data", s.Data(), "-o", "json")...)
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
