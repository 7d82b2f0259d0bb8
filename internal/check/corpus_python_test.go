package check_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/internal/check"
)

// pythonProcess is the parser that serves on a base's interpreter, here on the machine's own.
type pythonProcess struct {
	in  io.WriteCloser
	out *bufio.Reader
}

func startPython(t *testing.T) *pythonProcess {
	t.Helper()
	program, err := exec.LookPath("python3")
	if err != nil {
		t.Fatal("python3 is missing; install it: hack/setup.sh packages checks")
	}
	cmd := exec.Command(program, "-I", "-S", "gather/parse.py")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	p := &pythonProcess{in: in, out: bufio.NewReader(out)}
	if _, err := p.out.ReadString('\n'); err != nil { // its version
		t.Fatal(err)
	}
	return p
}

func (p *pythonProcess) parse(t *testing.T, in *check.Input) {
	t.Helper()
	for _, m := range in.Modules {
		for _, f := range m.Files {
			if !strings.HasSuffix(f.Path, ".py") || f.Content == nil {
				continue
			}
			if _, err := fmt.Fprintf(p.in, "%d\n%s", len(f.Content), f.Content); err != nil {
				t.Fatal(err)
			}
			line, err := p.out.ReadBytes('\n')
			if err != nil {
				t.Fatal(err)
			}
			var answer struct {
				check.Python
				SyntaxError string `json:"syntax_error"`
				Unknown     string `json:"unknown"`
			}
			if err := json.Unmarshal(line, &answer); err != nil {
				t.Fatal(err)
			}
			if answer.Unknown != "" {
				continue
			}
			answer.Python.SyntaxError = answer.SyntaxError
			f.Python = &answer.Python
		}
	}
}
