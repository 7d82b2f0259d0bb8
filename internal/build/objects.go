package build

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// objectReader reads the contents of Git's objects, one after the other: those that were foretold out of a git process that
// is ahead of the reader, all others through one that is asked for each.
type objectReader struct {
	repo     *repository
	ctx      context.Context // of both processes
	asked    *objectStream
	ahead    *objectStream // nil: nothing was foretold
	foretold []string      // what ahead still has
	current  *object
}

// objectStream is one running git process.
type objectStream struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func (r *repository) objects(ctx context.Context) (*objectReader, error) {
	asked, err := r.stream(ctx)
	if err != nil {
		return nil, err
	}
	return &objectReader{repo: r, ctx: ctx, asked: asked}, nil
}

func (r *repository) stream(ctx context.Context) (*objectStream, error) {
	cmd := r.command(ctx, "cat-file", "--batch")
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("git cat-file: %w", err)
	}
	return &objectStream{cmd: cmd, in: in, out: bufio.NewReaderSize(out, 256<<10)}, nil
}

// foretell says which objects will be opened next, in this order. What is opened in another order is only slower.
func (o *objectReader) foretell(names []string) error {
	o.dropAhead()
	if len(names) == 0 || o.current != nil {
		return nil
	}
	s, err := o.repo.stream(o.ctx)
	if err != nil {
		return err
	}
	o.ahead, o.foretold = s, slices.Clone(names)
	go func() { // git takes no more names than its answers are read
		_, _ = io.WriteString(s.in, strings.Join(names, "\n")+"\n")
		_ = s.in.Close()
	}()
	return nil
}

func (o *objectReader) dropAhead() {
	if o.ahead == nil {
		return
	}
	_ = o.ahead.cmd.Process.Kill() // it may wait for a reader
	_ = o.ahead.cmd.Wait()
	o.ahead, o.foretold = nil, nil
}

func (o *objectReader) Close() error {
	o.dropAhead()
	o.asked.in.Close()
	io.Copy(io.Discard, o.asked.out)
	return o.asked.cmd.Wait()
}

// open returns the content of an object, to be closed before the next one is opened.
func (o *objectReader) open(name string) (io.ReadCloser, error) {
	if o.current != nil {
		return nil, errors.New("git cat-file: the object before is still being read")
	}
	from := o.asked
	if len(o.foretold) > 0 && o.foretold[0] == name {
		from, o.foretold = o.ahead, o.foretold[1:]
	} else if _, err := io.WriteString(from.in, name+"\n"); err != nil {
		return nil, fmt.Errorf("git cat-file: %w", err)
	}
	header, err := from.out.ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("git cat-file: object %s: %w", name, err)
	}
	fields := strings.Fields(header)
	if len(fields) != 3 {
		return nil, fmt.Errorf("git cat-file: object %s is %s; a partial clone must be completed first", name, strings.TrimSpace(header))
	}
	size, err := strconv.ParseInt(fields[2], 10, 64)
	if err != nil {
		return nil, fmt.Errorf("git cat-file: %w", err)
	}
	o.current = &object{reader: o, from: from.out, left: size}
	return o.current, nil
}

type object struct {
	reader *objectReader
	from   *bufio.Reader
	left   int64
}

func (b *object) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	n, err := b.from.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Close skips what was not read.
func (b *object) Close() error {
	if b.reader.current != b {
		return nil
	}
	b.reader.current = nil
	_, err := b.from.Discard(int(b.left) + 1) // and the newline behind it
	return err
}
