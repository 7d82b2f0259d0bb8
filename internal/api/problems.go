package api

import (
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// kind of problem is what a client can act on: its name does not change, and its text may.
type kind struct {
	Name   string
	Status int
	Says   string
}

// The kinds that a status alone does not tell.
const (
	tenantBusy     = "tenant-busy"
	nothingToDo    = "nothing-to-do"
	lossToAccept   = "loss-to-accept"
	noRepository   = "no-repository"
	keyReused      = "idempotency-key-reused"
	keyUnderWay    = "idempotency-key-under-way"
	answerNotKept  = "answer-not-kept"
	outcomeUnknown = "outcome-unknown"
	staleCursor    = "stale-cursor"
)

// problemKinds are all there are. The first one of a status is what a problem is that says no more.
var problemKinds = []kind{
	{"malformed", http.StatusBadRequest, "The request cannot be read: not JSON, or not a request at all."},
	{"not-logged-in", http.StatusUnauthorized, "Nobody has shown who they are, or what they showed does not count any more."},
	{"not-allowed", http.StatusForbidden, "The table of roles says no. It says which role it takes, and the refusal is recorded."},
	{"not-found", http.StatusNotFound, "Nothing is known under this name or ID."},
	{"no-such-method", http.StatusMethodNotAllowed, "This path has other methods."},
	{"not-acceptable", http.StatusNotAcceptable, "The answer has another type than the client takes."},
	{"timeout", http.StatusRequestTimeout, "The request did not come in time."},
	{"conflict", http.StatusConflict, "The request makes sense, and what there is now stands against it."},
	{tenantBusy, http.StatusConflict, "A tenant takes part in another promotion that has not ended."},
	{nothingToDo, http.StatusConflict, "What was asked for is so already."},
	{lossToAccept, http.StatusConflict, "Going back loses what was written since a checkpoint; say accept_loss if that is what you want."},
	{noRepository, http.StatusConflict, "The estate is a folder, and this takes one that is kept in Git."},
	{keyUnderWay, http.StatusConflict, "The request with this Idempotency-Key is being answered; ask again in a moment."},
	{answerNotKept, http.StatusConflict, "The request with this Idempotency-Key was answered with a secret, which is kept nowhere. What it made is there."},
	{outcomeUnknown, http.StatusConflict, "The server ended while it answered the request with this Idempotency-Key. Look what there is, then ask with another key."},
	{"too-large", http.StatusRequestEntityTooLarge, "The body is longer than 1 MiB."},
	{"unsupported-type", http.StatusUnsupportedMediaType, "The body is of another type than application/json."},
	{"invalid", http.StatusUnprocessableEntity, "The request can be read and makes no sense; errors names the fields."},
	{keyReused, http.StatusUnprocessableEntity, "The Idempotency-Key belongs to another request. Take a new one."},
	{staleCursor, http.StatusUnprocessableEntity, "The cursor is not one of this list. Begin from the start."},
	{"too-many", http.StatusTooManyRequests, "Too many requests, or too many streams. Retry-After says when it is worth another try, where that is known."},
	{"internal", http.StatusInternalServerError, "The server failed at it."},
	{"upstream", http.StatusBadGateway, "The estate's repository or its forge does not answer as it should."},
	{"unavailable", http.StatusServiceUnavailable, "The server cannot answer now: its database does not, or it stops."},
}

// problemsAt is where the reference page explains them.
const problemsAt = "/api#problem-"

// typeOf is the type of a problem that says no more than its status.
func typeOf(status int) string {
	if i := slices.IndexFunc(problemKinds, func(k kind) bool { return k.Status == status }); i >= 0 {
		return problemsAt + problemKinds[i].Name
	}
	return "about:blank"
}

// as is a problem of one of the kinds.
func as(name, detail string) error {
	i := slices.IndexFunc(problemKinds, func(k kind) bool { return k.Name == name })
	err := huma.NewError(problemKinds[i].Status, detail)
	if m, ok := err.(*huma.ErrorModel); ok { //nolint:errorlint // made in the line above
		m.Type = problemsAt + name
	}
	return err
}

// Every problem that the framework makes has its type.
func init() {
	plain := huma.NewError
	huma.NewError = func(status int, message string, errs ...error) huma.StatusError {
		err := plain(status, message, errs...)
		if m, ok := err.(*huma.ErrorModel); ok { //nolint:errorlint // made in the line above
			m.Type = typeOf(status)
			m.Detail = strings.ToValidUTF8(m.Detail, "�")
		}
		return err
	}
}
