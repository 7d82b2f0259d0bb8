package waybill

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// stopLimit is how long a server may take to end well.
const stopLimit = 90 * time.Second

// Server is one `waybill up` or `waybill serve`, in a process of its own.
type Server struct {
	Started time.Time     // just before the process began
	Ended   chan struct{} // closed once the process is gone
	process *exec.Cmd
	err     error // once Ended is closed
	log     string
}

// Up is how to start a server.
type Up struct {
	Estate      string   // folder
	Listen      string   // host:port
	Log         string   // file that its standard error is added to
	Environment []string // further variables, "NAME=value"
	Serve       []string // flags of `waybill serve`; nil: it is `waybill up`
	WithParent  bool     // it is asked to end when the thread that starts it goes
}

// Up starts the server and returns once it is ready. One that ends before that is an error; the
// Server then says how it ended.
func (c CLI) Up(ctx context.Context, o Up) (*Server, error) {
	file, err := os.OpenFile(o.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer file.Close() // the child has its own descriptor
	verb := "up"
	if o.Serve != nil {
		verb = "serve"
	}
	fmt.Fprintf(file, "--- waybill %s %s\n", verb, strings.Join(slices.Concat(o.Serve, o.Environment), " "))
	// Not CommandContext: it is stopped with SIGTERM, by Stop, and so has the time to end well.
	process := exec.Command(c.Binary, append([]string{verb, "--data", c.Data, "--estate", o.Estate, "--listen", o.Listen}, o.Serve...)...)
	process.Env = append(os.Environ(), o.Environment...)
	process.Stderr = file
	// A Ctrl-C in the terminal is for the parent, which then stops the server.
	process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if o.WithParent {
		process.SysProcAttr.Pdeathsig = syscall.SIGTERM
	}
	out, err := process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s := &Server{process: process, Ended: make(chan struct{}), Started: time.Now(), log: o.Log}
	if err := process.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Binary, err)
	}
	ready := make(chan struct{})
	go func() {
		defer close(s.Ended)
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
	case <-s.Ended:
		return s, fmt.Errorf("waybill %s ended before it was ready: %w\n%s", verb, s.err, Tail(o.Log))
	case <-ctx.Done():
		return s, errors.Join(fmt.Errorf("waybill %s was not ready in time: %w\n%s", verb, ctx.Err(), Tail(o.Log)), s.Stop())
	}
}

// Gone says whether the process has ended.
func (s *Server) Gone() bool {
	select {
	case <-s.Ended:
		return true
	default:
		return false
	}
}

// Killed says whether the process has ended by SIGKILL.
func (s *Server) Killed() bool {
	if !s.Gone() {
		return false
	}
	var exit *exec.ExitError
	if !errors.As(s.err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// Kill ends the server as kill -9 does, and waits for that.
func (s *Server) Kill() {
	_ = s.process.Process.Kill()
	<-s.Ended
}

// Stop asks the server to end and waits for it. One that is gone already says how it ended.
func (s *Server) Stop() error {
	if s.Gone() {
		return s.err
	}
	if err := s.process.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	deadline := time.NewTimer(stopLimit)
	defer deadline.Stop()
	select {
	case <-s.Ended:
		return s.err
	case <-deadline.C:
		_ = s.process.Process.Kill()
		<-s.Ended
		return fmt.Errorf("the server did not stop within %s of SIGTERM\n%s", stopLimit, Tail(s.log))
	}
}

// Tail is the end of a log file, for an error's text.
func Tail(file string) string {
	content, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	return filepath.Base(file) + ":\n  " + strings.Join(lines[max(0, len(lines)-25):], "\n  ")
}
