package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/waybill-dev/waybill/internal/runtime"
)

// fault says what was tried when the engine answered err. An engine that is away becomes
// runtime.ErrUnavailable, with what to do about it.
func (r *Runtime) fault(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	tried := fmt.Sprintf(format, args...)
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: %w", tried, err)
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return fmt.Errorf("%s: no permission to use the Docker Engine at %s: run as root or join the group docker: %w", tried, r.opt.Host, err)
	case away(err):
		return fmt.Errorf("%s: the Docker Engine at %s does not answer (start it: systemctl start docker; or point DOCKER_HOST at a running one): %w: %w", tried, r.opt.Host, err, runtime.ErrUnavailable)
	}
	return fmt.Errorf("%s: %w", tried, err)
}

// away tells whether the engine, not its answer, is what is wrong.
func away(err error) bool {
	var netErr net.Error
	switch {
	case client.IsErrConnectionFailed(err),
		cerrdefs.IsUnavailable(err),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		errors.Is(err, net.ErrClosed):
		return true
	case errors.As(err, &netErr):
		return true
	}
	// What an engine that is shutting down or coming up says of its own containerd.
	msg := err.Error()
	return strings.Contains(msg, "connection error: desc =") || strings.Contains(msg, "transport is closing") ||
		strings.Contains(msg, "EOF") && strings.Contains(msg, "docker.sock")
}

// list returns the containers, running or not, that carry all the labels.
func (r *Runtime) list(ctx context.Context, want labels) ([]container.Summary, error) {
	res, err := r.api.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: r.filters(want)})
	if err != nil {
		return nil, r.fault(err, "list containers")
	}
	return res.Items, nil
}

// inspect returns the container of that name, which must be ours; found is false when there is none.
func (r *Runtime) inspect(ctx context.Context, name string) (c container.InspectResponse, found bool, err error) {
	res, err := r.api.ContainerInspect(ctx, name, client.ContainerInspectOptions{})
	if cerrdefs.IsNotFound(err) {
		return c, false, nil
	}
	if err != nil {
		return c, false, r.fault(err, "inspect container %s", name)
	}
	c = res.Container
	if c.State == nil || c.Config == nil || c.NetworkSettings == nil {
		return c, false, fmt.Errorf("inspect container %s: the engine's answer lacks state or configuration", name)
	}
	if c.Config.Labels[labelInstance] != r.opt.Instance {
		return c, false, fmt.Errorf("container %s exists and is not of this Waybill (label %s is %q, expected %q): rename or remove it", name, labelInstance, c.Config.Labels[labelInstance], r.opt.Instance)
	}
	return c, true, nil
}

// wait waits d or until ctx is done.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// backoff is a delay that doubles from first to most.
type backoff struct{ first, most, now time.Duration }

func (b *backoff) next() time.Duration {
	if b.now == 0 {
		b.now = b.first
	} else {
		b.now = min(2*b.now, b.most)
	}
	return b.now
}
