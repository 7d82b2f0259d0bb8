package router

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// Dial returns the Control of the router that listens on a Unix socket. It connects for each call
// anew, so the router may restart in between. Where nothing listens, calls return an error that
// matches ErrNotRunning.
func Dial(socket string) Control {
	return &client{socket: socket, base: "http://router", http: &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			d := net.Dialer{Timeout: 2 * time.Second}
			return d.DialContext(ctx, "unix", socket)
		},
	}}}
}

// ErrNotRunning is returned when no router listens on the socket.
var ErrNotRunning = errors.New("no router answers")

const maxStatsSize = 64 << 20

type client struct {
	socket string // where it listens, for errors
	base   string
	http   *http.Client
}

func (c *client) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode %s for the router: %w", path, err)
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return err
	}
	res, err := c.http.Do(req)
	if err != nil {
		var dial *net.OpError
		if errors.As(err, &dial) && dial.Op == "dial" {
			return fmt.Errorf("%s %s on the router at %s: %w: %w; look at its container's log, or start it again", method, path, c.socket, ErrNotRunning, dial.Err)
		}
		return fmt.Errorf("%s %s on the router at %s: %w", method, path, c.socket, err)
	}
	defer res.Body.Close()
	answer := io.LimitReader(res.Body, maxStatsSize)
	if res.StatusCode == http.StatusOK {
		if err := json.NewDecoder(answer).Decode(out); err != nil {
			return fmt.Errorf("%s %s: the router at %s answered what cannot be read: %w", method, path, c.socket, err)
		}
		return nil
	}
	var f fault
	if err := json.NewDecoder(answer).Decode(&f); err != nil {
		return fmt.Errorf("%s %s: the router at %s answered %s", method, path, c.socket, res.Status)
	}
	switch f.Kind {
	case "table":
		return &TableError{Generation: f.Generation, Problems: f.Problems}
	case "stale":
		return &StaleError{Generation: f.Generation, InForce: f.InForce}
	case "unknown_tenant":
		return &unknownTenant{f.Error}
	}
	return fmt.Errorf("%s %s: the router at %s answered %s: %s", method, path, c.socket, res.Status, f.Error)
}

// unknownTenant is ErrUnknownTenant in the router's own words.
type unknownTenant struct{ text string }

func (e *unknownTenant) Error() string { return e.text }
func (e *unknownTenant) Unwrap() error { return ErrUnknownTenant }

func (c *client) Apply(ctx context.Context, table Table) error {
	return c.call(ctx, http.MethodPut, "/table", table, &struct{}{})
}

func (c *client) Drain(ctx context.Context, tenant string, limit time.Duration) (int, error) {
	var out drainResponse
	err := c.call(ctx, http.MethodPost, "/drain", drainRequest{tenant, limit.Seconds()}, &out)
	return out.Cut, err
}

func (c *client) CloseWebsockets(ctx context.Context, tenant, keep string) error {
	return c.call(ctx, http.MethodPost, "/close-websockets", closeRequest{tenant, keep}, &struct{}{})
}

func (c *client) Stats(ctx context.Context) (Stats, error) {
	var out Stats
	err := c.call(ctx, http.MethodGet, "/stats", nil, &out)
	return out, err
}
