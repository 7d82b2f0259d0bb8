package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/waybill-dev/waybill/internal/runtime"
)

// Ports inside the containers.
const (
	webPort       = 8069
	websocketPort = 8072
	routerPort    = 8080
	routerTLSPort = 8443
)

// probeClient asks containers directly: no proxy, no connection kept.
var probeClient = &http.Client{
	Timeout:       5 * time.Second,
	Transport:     &http.Transport{Proxy: nil, DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// probe says why a running container does not accept connections yet; nil: it does.
type probe func(ctx context.Context, c container.InspectResponse) error

// await returns the container once the probe is content; from then on the engine keeps it up. A container that ends or starts again
// meanwhile is an error with its exit code and last words.
func (r *Runtime) await(ctx context.Context, name string, ready probe) (container.InspectResponse, error) {
	delay := backoff{first: 50 * time.Millisecond, most: 500 * time.Millisecond}
	restarts, last := -1, errors.New("not asked yet")
	for {
		c, found, err := r.inspect(ctx, name)
		switch {
		case err != nil:
			return c, r.unready(ctx, name, last, err)
		case !found:
			return c, fmt.Errorf("wait for container %s: it was removed: %w", name, runtime.ErrNotFound)
		}
		if restarts < 0 {
			restarts = c.RestartCount
		}
		if !c.State.Running || c.State.Restarting || c.RestartCount > restarts {
			return c, r.crashed(ctx, name, c)
		}
		if last = ready(ctx, c); last == nil {
			if last = r.restartPolicy(ctx, c, container.RestartPolicyUnlessStopped); !errors.Is(last, errAgain) {
				return c, last
			}
		}
		if err := wait(ctx, delay.next()); err != nil {
			return c, r.unready(ctx, name, last, err)
		}
	}
}

// unready tells why a wait was given up, with what the container said last.
func (r *Runtime) unready(ctx context.Context, name string, last, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return fmt.Errorf("wait for container %s to accept connections: %w; it was not ready because: %v; it said last:\n%s", name, err, last, r.lastWords(ctx, name))
}

func (r *Runtime) crashed(ctx context.Context, name string, c container.InspectResponse) error {
	hint := ""
	if c.State.ExitCode == commandNotFound {
		hint = " (its image has no command " + strings.Join(c.Config.Entrypoint, " ") + ": is it an Odoo image?)"
	}
	return fmt.Errorf("container %s of image %s %s%s; it said last:\n%s", name, c.Config.Labels[labelImage], ending(c.State), hint, r.lastWords(ctx, name))
}

// commandNotFound is the exit code of the init process when it cannot run the command.
const commandNotFound = 127

// ending says in words how a container ended.
func ending(s *container.State) string {
	out := "ended with exit code " + strconv.Itoa(s.ExitCode)
	if s.OOMKilled {
		out += " (killed because it ran out of memory)"
	}
	if s.Error != "" {
		out += " (" + s.Error + ")"
	}
	if s.Running {
		return "ended and was started again" // its exit code is not kept
	}
	return out
}

// lastWords are the last lines of a container's output, for an error; it works after ctx is done.
func (r *Runtime) lastWords(ctx context.Context, name string) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	const most = 4 << 10
	text, err := r.tail(ctx, name, "25", most)
	if err != nil {
		return "(its log cannot be read: " + err.Error() + ")"
	}
	if strings.TrimSpace(text) == "" {
		return "(nothing)"
	}
	return strings.TrimRight(text, "\n")
}

// address is where a process listens, as seen from this machine, now.
func address(c container.InspectResponse, port int) (string, error) {
	for _, e := range c.NetworkSettings.Networks {
		if e != nil && e.IPAddress.IsValid() {
			return net.JoinHostPort(e.IPAddress.String(), strconv.Itoa(port)), nil
		}
	}
	return "", errors.New("it has no address yet")
}

// answersHTTP is content with any answer to GET /web/health but a server's error. Odoo opens no
// tenant's database for it.
func answersHTTP(port int) probe {
	return func(ctx context.Context, c container.InspectResponse) error {
		at, err := address(c, port)
		if err != nil {
			return err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at+"/web/health", nil)
		if err != nil {
			return err
		}
		res, err := probeClient.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if _, err := io.Copy(io.Discard, io.LimitReader(res.Body, 1<<20)); err != nil {
			return err
		}
		if res.StatusCode >= http.StatusInternalServerError {
			return fmt.Errorf("GET http://%s/web/health: %s", at, res.Status)
		}
		return nil
	}
}

// listensTCP is content when a connection to the port is accepted.
func listensTCP(ctx context.Context, at string) error {
	return dials(ctx, "tcp", at)
}

func dials(ctx context.Context, family, at string) error {
	d := net.Dialer{Timeout: 5 * time.Second}
	conn, err := d.DialContext(ctx, family, at)
	if err != nil {
		return err
	}
	return conn.Close()
}
