package bridge

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// The doors that a pool tries from inside; see bridge/waybill_probe/isolation.py.
const (
	DoorConnect   = "connect"   // a database, with the pool's own login
	DoorLogin     = "login"     // another login, with the pool's password and with none
	DoorRole      = "role"      // SET ROLE to another owner
	DoorCursor    = "cursor"    // a database, through Odoo's own connections
	DoorRegistry  = "registry"  // a database's registry, as an addon gets it
	DoorFilestore = "filestore" // a database's files, under any mount and in object storage
	DoorFolder    = "folder"    // a folder by its name on the machine
	DoorTCP       = "tcp"       // an address
	DoorHTTP      = "http"      // a page of an address
	DoorSession   = "session"   // makes a session of the pool's own tenant; Detail is its ID
	DoorForget    = "forget"    // ends such a session
)

// Gateway as a host is the machine that a pool runs on, as its container sees it.
const Gateway = "gateway"

// IsolationAttempt is one thing that a pool tries.
type IsolationAttempt struct {
	Door     string `json:"door"`
	Target   string `json:"target,omitempty"`   // a database, role, folder, path of a page, or session ID
	Database string `json:"database,omitempty"` // of a login; empty: the pool's own
	Host     string `json:"host,omitempty"`
	Port     int    `json:"port,omitempty"`
	TLS      bool   `json:"tls,omitempty"`    // of a page
	Prefix   string `json:"prefix,omitempty"` // of a database's files, where they are in object storage: "ENVIRONMENT/GROUP/"
}

// Reach is how an attempt ended.
type Reach string

// The ends of an attempt.
const (
	Reached Reach = "reached"
	Refused Reach = "refused" // something said no
	Unknown Reach = "unknown" // it went wrong otherwise, and proves nothing
)

// IsolationResult is how one attempt ended, and a line that says why.
type IsolationResult struct {
	Outcome Reach  `json:"outcome"`
	Detail  string `json:"detail"`
}

// isolationAtOnce is how many attempts go into one call: each may take three seconds of silence, eight at a time.
const isolationAtOnce = 60

// Isolation has the pool try to reach what belongs to others, in the process that serves a database of its own. There is a result
// for each attempt, in their order.
func (c *Client) Isolation(ctx context.Context, database string, attempts []IsolationAttempt) ([]IsolationResult, error) {
	var all []IsolationResult
	for some := range slices.Chunk(attempts, isolationAtOnce) {
		body, err := json.Marshal(map[string]any{"database": database, "attempts": some})
		if err != nil {
			return nil, fmt.Errorf("encode what a pool is to try: %w", err)
		}
		var answer struct {
			Results []IsolationResult `json:"results"`
		}
		if err := c.first(ctx, http.MethodPost, "/waybill/v1/isolation", body, &answer); err != nil {
			return nil, err
		}
		if len(answer.Results) != len(some) {
			return nil, fmt.Errorf("%w: POST /waybill/v1/isolation: %d results of %d attempts", ErrBadAnswer, len(answer.Results), len(some))
		}
		all = append(all, answer.Results...)
	}
	return all, nil
}

// ServedHeader is in the answer to a request of anybody's that carries a witness: the database that Odoo opened for it, or nothing.
const ServedHeader = "X-Waybill-Served"

// witnessPrefix stands before the path in what a witness signs, so that it is good for nothing else.
const witnessPrefix = "/waybill/v1/witness"

// Witness is the value of SignatureHeader that makes a pool tell which database Odoo opened for a request, in ServedHeader. path
// includes the query, and is plain ASCII without escapes.
func Witness(key []byte, at time.Time, method, path string) string {
	return Sign(key, at, random(18), method, witnessPrefix+path, nil)
}

// SignCall is the value of SignatureHeader for a call of the bridge without a body.
func SignCall(key []byte, at time.Time, method, path string) string {
	return Sign(key, at, random(18), method, path, nil)
}
