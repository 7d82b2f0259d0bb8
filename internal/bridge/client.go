package bridge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// What went wrong with a call, for errors.Is.
var (
	// ErrUnreachable: no answer. The process is not up, or the network is not.
	ErrUnreachable = errors.New("bridge unreachable")
	// ErrRefused: the bridge does not accept the call: another key or clock (404), a database
	// that is not on the pool's list (403), or a call it does not know (400).
	ErrRefused = errors.New("bridge refused")
	// ErrBadAnswer: something answered, but not as the bridge does.
	ErrBadAnswer = errors.New("bridge gave a bad answer")
)

// maxAnswer bounds an answer in bytes; all flows, each with a trace of 16 KiB, stay below it.
const maxAnswer = 4 << 20

// maxFlows bounds the flows of one database: Waybill's own and those of addons.
const maxFlows = 100

// Status is the answer to GET /waybill/v1/status: what one process of a pool says of itself.
type Status struct {
	Protocol    int      `json:"protocol"`
	Series      string   `json:"series"`  // of Odoo, "19.0"
	Version     string   `json:"version"` // of Odoo's package
	Role        string   `json:"role"`    // WAYBILL_ROLE: web, websocket, cron
	PID         int      `json:"pid"`
	Environment string   `json:"environment"`
	Pool        string   `json:"pool"`
	Release     string   `json:"release"`
	Generation  int64    `json:"generation"` // of the pool.json in force
	Drain       bool     `json:"drain"`
	Databases   []string `json:"databases"` // on the pool's list
	Loaded      []string `json:"loaded"`    // whose registry this process has loaded
}

// Keys gives the keys that a pool may know just now, the likeliest first. It is asked before every call, since keys change.
type Keys func(context.Context) ([][]byte, error)

// Addresses gives the base URLs of a pool's pods, one at least, always in the same order.
type Addresses func(context.Context) ([]string, error)

// Client calls the bridge of one pool. It is safe for concurrent use.
//
// A pool may have several pods, which share databases and files, and no memory: what one process alone can tell or do, each of them is
// asked. What belongs to the database is asked of the first.
type Client struct {
	pods Addresses
	keys Keys
	http *http.Client
	now  func() time.Time
}

// NewClient returns a client for the pool at baseURL (PoolState.Bridge), signing with the
// environment's key. Calls are bounded by their context alone: opening a registry takes seconds.
func NewClient(baseURL string, key []byte) *Client {
	key = bytes.Clone(key)
	return NewClientWith(baseURL, func(context.Context) ([][]byte, error) { return [][]byte{key}, nil })
}

// NewClientWith is NewClient for an environment whose key may change while the client is in use: a pool knows one key at a
// time, and a call that it refuses for the key (it has done nothing then) is made again with the other.
func NewClientWith(baseURL string, keys Keys) *Client {
	return NewClientOf(func(context.Context) ([]string, error) { return []string{baseURL}, nil }, keys)
}

// NewClientOf is NewClientWith for a pool of several pods. They are asked for before every call, since they come and go.
func NewClientOf(pods Addresses, keys Keys) *Client {
	transport := &http.Transport{
		Proxy:                  nil, // a pool is reached directly, whatever the server's environment says
		MaxIdleConnsPerHost:    2,
		IdleConnTimeout:        5 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
	return &Client{
		pods: pods,
		keys: keys,
		now:  time.Now,
		http: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Close closes the idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Ready asks whether every pod of the pool can serve the database; the first call opens its registry, which
// takes seconds. A pool that is not ready is an answer, not an error.
func (c *Client) Ready(ctx context.Context, database string) (Readiness, error) {
	all, err := each[Readiness](ctx, c, "/waybill/v1/ready?"+url.Values{"db": {database}}.Encode())
	if err != nil {
		return Readiness{}, err
	}
	return leastReady(all), nil
}

// leastReady is what the pods of a pool say together: all must be ready, with the list that is in force.
func leastReady(all []Readiness) Readiness {
	least := all[0]
	for _, one := range all[1:] {
		generation, seconds := min(least.Generation, one.Generation), max(least.Seconds, one.Seconds)
		if least.Ready && !one.Ready {
			least = one
		}
		least.Generation, least.Seconds = generation, seconds
	}
	return least
}

// each asks every pod of the pool the same.
func each[T any](ctx context.Context, c *Client, path string) ([]T, error) {
	pods, err := c.addresses(ctx)
	if err != nil {
		return nil, err
	}
	answers := make([]T, len(pods))
	g, ctx := errgroup.WithContext(ctx)
	for i, pod := range pods {
		g.Go(func() error { return c.call(ctx, pod, http.MethodGet, path, nil, &answers[i]) })
	}
	return answers, g.Wait()
}

func (c *Client) addresses(ctx context.Context) ([]string, error) {
	pods, err := c.pods(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: find out its pods: %w", ErrUnreachable, err)
	}
	if len(pods) == 0 {
		return nil, fmt.Errorf("%w: the pool has no pod that serves", ErrUnreachable)
	}
	all := make([]string, len(pods))
	for i, pod := range pods {
		all[i] = strings.TrimRight(pod, "/")
	}
	return all, nil
}

// first asks the first pod: what it is asked is of the database, or the same in each.
func (c *Client) first(ctx context.Context, method, path string, body []byte, answer any) error {
	pods, err := c.addresses(ctx)
	if err != nil {
		return err
	}
	return c.call(ctx, pods[0], method, path, body, answer)
}

// Flows runs flows in the pool and rolls them back. A flow that failed is an answer, not an error. It asks as
// often as it takes: a worker of Odoo has only so much time for one request.
//
// When the connection breaks off it asks the same pod once more: a flow that took its process with it is named by the next one.
func (c *Client) Flows(ctx context.Context, request FlowsRequest) ([]Flow, error) {
	pods, err := c.addresses(ctx)
	if err != nil {
		return nil, err
	}
	pod := pods[0]
	var all []Flow
	for again := true; ; {
		body, err := json.Marshal(request)
		if err != nil {
			return nil, fmt.Errorf("encode the request for flows: %w", err)
		}
		var answer struct {
			Flows []Flow   `json:"flows"`
			Left  []string `json:"left"`
		}
		if err := c.call(ctx, pod, http.MethodPost, "/waybill/v1/flows", body, &answer); err != nil {
			if again && errors.Is(err, ErrUnreachable) && ctx.Err() == nil {
				again = false
				continue
			}
			if errors.Is(err, ErrUnreachable) && len(request.Flows) > 0 {
				return nil, fmt.Errorf("flows %s: %w", strings.Join(request.Flows, ", "), err)
			}
			return nil, err
		}
		if len(answer.Flows) == 0 {
			return nil, fmt.Errorf("%w: POST %s/waybill/v1/flows: it names no flow", ErrBadAnswer, pod)
		}
		all = append(all, answer.Flows...)
		if len(answer.Left) == 0 {
			return all, nil
		}
		if len(all) > maxFlows {
			return nil, fmt.Errorf("%w: POST %s/waybill/v1/flows: more than %d flows, and no end", ErrBadAnswer, pod, maxFlows)
		}
		request.Flows = answer.Left
	}
}

// Status asks one process of each pod what it is, and returns what the first one says; it opens no database.
func (c *Client) Status(ctx context.Context) (Status, error) {
	all, err := each[Status](ctx, c, "/waybill/v1/status")
	if err != nil {
		return Status{}, err
	}
	return all[0], nil
}

// errKey is in the error of a call that was refused as if its key were wrong.
var errKey = errors.New("not found")

func (c *Client) call(ctx context.Context, pod, method, path string, body []byte, answer any) error {
	refused := fmt.Errorf("%w: %s %s%s: there is no key to sign with", ErrRefused, method, pod, path)
	var last []byte
	for range 3 {
		keys, err := c.keys(ctx)
		if err != nil {
			return fmt.Errorf("%w: %s %s%s: find out the key: %w", ErrUnreachable, method, pod, path, err)
		}
		// Between two tries a pool may have taken the new key, and the old one may have gone.
		if len(keys) == 1 && bytes.Equal(keys[0], last) {
			return refused
		}
		for _, key := range keys {
			last = key
			if refused = c.callWith(ctx, key, pod, method, path, body, answer); !errors.Is(refused, errKey) {
				return refused
			}
		}
	}
	return refused
}

func (c *Client) callWith(ctx context.Context, key []byte, pod, method, path string, body []byte, answer any) error {
	what := method + " " + pod + path
	if len(bytes.Trim(key, " \t\r\n")) < MinKey {
		return fmt.Errorf("%w: %s: the key has less than %d bytes", ErrRefused, what, MinKey)
	}
	request, err := http.NewRequestWithContext(ctx, method, pod+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrUnreachable, what, err)
	}
	request.Header.Set(SignatureHeader, Sign(key, c.now(), random(18), method, path, body))
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := c.http.Do(request)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrUnreachable, what, err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return fmt.Errorf("%w: %s: the answer broke off: %w", ErrUnreachable, what, err)
	}
	if len(raw) > maxAnswer {
		return fmt.Errorf("%w: %s: more than %d bytes", ErrBadAnswer, what, maxAnswer)
	}
	kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	switch {
	case response.StatusCode == http.StatusNotFound:
		return fmt.Errorf("%w: %s: %w; is the key the one in %s, the clock right, the module %s loaded?",
			ErrRefused, what, errKey, KeyFile, "waybill_probe")
	case response.StatusCode == http.StatusOK && kind == "application/json":
		if err := json.Unmarshal(raw, answer); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrBadAnswer, what, err)
		}
		return nil
	case response.StatusCode == http.StatusBadRequest || response.StatusCode == http.StatusForbidden:
		return fmt.Errorf("%w: %s: %s: %s", ErrRefused, what, response.Status, reason(raw))
	default:
		return fmt.Errorf("%w: %s: %s (%s): %s", ErrBadAnswer, what, response.Status, kind, reason(raw))
	}
}

// reason is what an error answer says, short enough for one line.
func reason(raw []byte) string {
	var answer struct {
		Error string `json:"error"`
	}
	text := string(raw)
	if json.Unmarshal(raw, &answer) == nil && answer.Error != "" {
		text = answer.Error
	}
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > 500 {
		text = strings.ToValidUTF8(text[:500], "") + "…"
	}
	return text
}
