package gather

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/waybill-dev/waybill/internal/check"
)

//go:embed parse.py
var parser string

// Limits of the process that parses, beside those that it sets itself: its input is what people
// wrote, and its parser is in C.
const (
	parseDeadline = 30 * time.Second // of one source
	maxAnswer     = 16 << 20         // bytes
	nobody        = 65534
)

// answer is what parser says of one source.
type answer struct {
	SyntaxError string                 `json:"syntax_error"`
	Line        int                    `json:"line"`
	Unknown     string                 `json:"unknown"`
	Models      []check.PythonModel    `json:"models"`
	Functions   []check.PythonFunction `json:"functions"`
	Commits     []int                  `json:"commits"`
	Imports     []check.PythonImport   `json:"imports"`
	Names       []string               `json:"names"`
}

func (a answer) python() *check.Python {
	return &check.Python{SyntaxError: a.SyntaxError, Line: a.Line, Models: a.Models, Functions: a.Functions, Commits: a.Commits, Imports: a.Imports, Names: a.Names}
}

// process is one running interpreter.
type process struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	stderr *tail
	cancel context.CancelFunc
}

// start runs the base's interpreter with the program given. As root it is shut into its own folder,
// as a user who owns nothing. In any case it imports from its own standard library only, has no
// environment, and bounds itself before it reads anything: memory, time, no files, no processes.
func (b *base) start(ctx context.Context, program string) (*process, error) {
	if b.Unusable != "" {
		return nil, errors.New(b.Unusable)
	}
	root := filepath.Join(b.dir, "root")
	at := func(name string) string { return filepath.Join(root, name) }
	attr := &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	dir := root
	if os.Geteuid() == 0 {
		at = func(name string) string { return "/" + name }
		attr.Chroot, dir = root, "/"
		attr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody, Groups: []uint32{}}
	}
	var args []string
	if b.Installed.Loader != "" {
		folders := make([]string, len(b.Installed.Folders))
		for i, folder := range b.Installed.Folders {
			folders[i] = at(folder)
		}
		args = append(args, at(b.Installed.Loader), "--library-path", strings.Join(folders, ":"))
	}
	args = append(args, at(b.Installed.Program), "-I", "-S", "-X", "utf8")
	if !b.writes {
		args = append(args, "-B")
	}
	args = append(args, "-c", program)
	ctx, cancel := context.WithCancel(ctx)
	p := &process{stderr: &tail{}, cancel: cancel}
	p.cmd = exec.CommandContext(ctx, args[0], args[1:]...)
	p.cmd.Path = args[0] // within the folder that it is shut into: not to be looked for outside
	p.cmd.Err = nil
	p.cmd.Dir, p.cmd.Env, p.cmd.SysProcAttr, p.cmd.Stderr = dir, []string{}, attr, p.stderr
	p.cmd.WaitDelay = 5 * time.Second
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		cancel()
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		cancel()
		return nil, err
	}
	p.out = bufio.NewReaderSize(out, 64<<10)
	if err := p.cmd.Start(); err != nil {
		cancel()
		return nil, fmt.Errorf("starting the base's %s: %w", b.Python, err)
	}
	return p, nil
}

// stop ends the process and returns what it said last on its standard error.
func (p *process) stop() string {
	p.cancel()
	p.in.Close()
	err := p.cmd.Wait()
	if text := p.stderr.last(); text != "" {
		return text
	}
	if err != nil {
		return err.Error()
	}
	return "it ended"
}

// line reads one answer.
func (p *process) line() ([]byte, error) {
	var whole []byte
	for {
		part, err := p.out.ReadSlice('\n')
		whole = append(whole, part...)
		if err == nil {
			return whole, nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
		if len(whole) > maxAnswer {
			return nil, fmt.Errorf("an answer of more than %d MB", maxAnswer>>20)
		}
	}
}

// try says whether the interpreter runs at all.
func (b *base) try(ctx context.Context) error {
	answers, err := b.ask(ctx, [][]byte{[]byte("class A(models.Model):\n    _name = 'a.b'\n")})
	switch {
	case err != nil:
		return err
	case answers[0].Unknown != "":
		return errors.New(answers[0].Unknown)
	case len(answers[0].Models) != 1 || answers[0].Models[0].Name != "a.b":
		return fmt.Errorf("the base's %s reads a simple source wrongly", b.Python)
	}
	return nil
}

// ask has sources parsed, in order. A source that the interpreter does not survive is Unknown, with
// the reason; the others go on in a new process. The error is of an interpreter that cannot be
// started at all.
func (b *base) ask(ctx context.Context, sources [][]byte) ([]answer, error) {
	answers := make([]answer, len(sources))
	for done := 0; done < len(sources); {
		n, why, err := b.askSome(ctx, sources[done:], answers[done:])
		if err != nil {
			return nil, err
		}
		if done += n; done < len(sources) {
			answers[done] = answer{Unknown: fmt.Sprintf("the base's %s did not survive it: %s", b.Python, why)}
			done++
		}
	}
	return answers, ctx.Err()
}

// prepare starts an interpreter that the first question will find ready: it starts while the addons are read.
func (b *base) prepare(ctx context.Context) {
	if p, err := b.start(ctx, parser); err == nil { // else the question says why
		b.ready = p
	}
}

func (b *base) take(ctx context.Context) (*process, error) {
	if p := b.ready; p != nil {
		b.ready = nil
		return p, nil
	}
	return b.start(ctx, parser)
}

// dismiss ends one that was never asked.
func (b *base) dismiss() {
	if b.ready != nil {
		b.ready.stop()
		b.ready = nil
	}
}

// askSome returns how many were answered, and why it stopped there.
func (b *base) askSome(ctx context.Context, sources [][]byte, answers []answer) (int, string, error) {
	p, err := b.take(ctx)
	if err != nil {
		return 0, "", err
	}
	late := time.AfterFunc(parseDeadline, p.cancel)
	defer late.Stop()
	if _, err := p.line(); err != nil {
		why := p.stop()
		return 0, "", errors.Join(ctx.Err(), fmt.Errorf("the base's %s does not run here: %s", b.Python, why))
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		defer p.in.Close()
		for _, source := range sources {
			// A process that is gone is noticed by the reader.
			if _, err := io.WriteString(p.in, strconv.Itoa(len(source))+"\n"); err != nil {
				return
			}
			if _, err := p.in.Write(source); err != nil {
				return
			}
		}
	}()
	defer func() { <-sent }()
	for i := range sources {
		late.Reset(parseDeadline)
		line, err := p.line()
		if err == nil {
			err = json.Unmarshal(line, &answers[i])
		}
		if err != nil {
			expired := !late.Stop() && ctx.Err() == nil
			why := p.stop()
			if ctx.Err() != nil {
				return i, "", ctx.Err()
			}
			if expired {
				why = fmt.Sprintf("it took more than %s", parseDeadline)
			}
			return i, why, nil
		}
	}
	late.Stop()
	p.stop()
	return len(sources), "", nil
}

// tail keeps the end of what is written to it.
type tail struct{ content []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.content = append(t.content, p...)
	if len(t.content) > 8<<10 {
		t.content = append([]byte{}, t.content[len(t.content)-4<<10:]...)
	}
	return len(p), nil
}

// last is the last line.
func (t *tail) last() string {
	lines := bytes.Split(bytes.TrimSpace(t.content), []byte("\n"))
	return string(bytes.TrimSpace(lines[len(lines)-1]))
}
