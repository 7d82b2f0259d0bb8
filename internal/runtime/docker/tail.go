package docker

import (
	"context"
	"io"
	"strings"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"

	"github.com/waybill-dev/waybill/internal/runtime"
)

// tail returns the last lines of a container's output, both streams in the order written, at
// most so many bytes of it.
func (r *Runtime) tail(ctx context.Context, name, lines string, most int) (string, error) {
	logs, err := r.api.ContainerLogs(ctx, name, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Tail: lines})
	if err != nil {
		return "", r.fault(err, "read the log of container %s", name)
	}
	defer logs.Close()
	end := &runtime.Tail{Most: most}
	if _, err := stdcopy.StdCopy(end, end, logs); err != nil && err != io.EOF {
		return "", r.fault(err, "read the log of container %s", name)
	}
	return strings.ToValidUTF8(string(end.Bytes()), "\uFFFD"), nil
}
