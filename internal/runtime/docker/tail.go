package docker

import (
	"context"
	"io"
	"strings"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"
)

// tail returns the last lines of a container's output, both streams in the order written, at
// most so many bytes of it.
func (r *Runtime) tail(ctx context.Context, name, lines string, most int) (string, error) {
	logs, err := r.api.ContainerLogs(ctx, name, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Tail: lines})
	if err != nil {
		return "", r.fault(err, "read the log of container %s", name)
	}
	defer logs.Close()
	end := &lastBytes{most: most}
	if _, err := stdcopy.StdCopy(end, end, logs); err != nil && err != io.EOF {
		return "", r.fault(err, "read the log of container %s", name)
	}
	return strings.ToValidUTF8(string(end.bytes()), "\uFFFD"), nil
}

// lastBytes keeps the last bytes written to it.
type lastBytes struct {
	most int
	buf  []byte
}

func (l *lastBytes) Write(p []byte) (int, error) {
	l.buf = append(l.buf, p...)
	if len(l.buf) > 2*l.most { // seldom, so that writing stays cheap
		l.buf = append(l.buf[:0], l.buf[len(l.buf)-l.most:]...)
	}
	return len(p), nil
}

func (l *lastBytes) bytes() []byte {
	return l.buf[max(0, len(l.buf)-l.most):]
}
