package client

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrNetworkChanged says that Chromium saw an interface come or go on its own machine, and gave its
// requests up for that. Each container that starts beside it makes one; it says nothing of any server.
var ErrNetworkChanged = errors.New("the browser's own machine changed its network")

// ErrLoggedOut says that the session is gone: the server asked for a login, or said that it expired.
var ErrLoggedOut = errors.New("the session is gone")

// Fault is an exception that Odoo raised and reported inside an answer with status 200.
type Fault struct {
	Name    string // Python class, for example odoo.exceptions.UserError
	Message string
	Debug   string // traceback
}

func (f *Fault) Error() string { return f.Name + ": " + f.Message }

// Retryable says whether the transaction was rolled back only because another one was faster.
func (f *Fault) Retryable() bool {
	switch f.Name {
	case "psycopg2.errors.SerializationFailure", "psycopg2.errors.DeadlockDetected",
		"psycopg2.errors.LockNotAvailable", "odoo.exceptions.ConcurrencyError":
		return true
	}
	return false
}

// StatusError is an answer that is neither success nor a redirect to the login page.
type StatusError struct {
	Status int
	Body   string // its beginning
}

func (e *StatusError) Error() string { return fmt.Sprintf("status %d: %s", e.Status, e.Body) }

// TurnedAway is an answer that asks to come back later. The request was not looked at.
type TurnedAway struct{ After time.Duration }

func (e *TurnedAway) Error() string { return fmt.Sprintf("come back in %s", e.After) }

// fault is the error member of a JSON-RPC answer.
type fault struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Data    struct {
		Name    string `json:"name"`
		Message string `json:"message"`
		Debug   string `json:"debug"`
	} `json:"data"`
}

func (f *fault) err() error {
	if f.Code == 100 || strings.HasSuffix(f.Data.Name, "SessionExpiredException") {
		return ErrLoggedOut
	}
	return &Fault{Name: f.Data.Name, Message: f.Data.Message, Debug: f.Data.Debug}
}

// excerpt is the beginning of an answer on one line.
func excerpt(content []byte) string {
	text := strings.Join(strings.Fields(string(content)), " ")
	if len(text) > 300 {
		text = text[:300] + "…"
	}
	return text
}
