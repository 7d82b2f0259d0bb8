package identity

import (
	"context"
	"log/slog"
)

// Entry is one thing that was decided about a person: let in or not, allowed or not, a token made or
// revoked, a promotion approved. It never holds a secret.
type Entry struct {
	Kind        string // what it is: "denied", "token.created", "token.revoked", "token.refused", "approval", "rejection", "approval.refused", "login", "logout", "login.refused", "session.refused", "password.set", "password.removed"
	Actor       string // name of the person; empty where nobody has shown who they are
	Token       string // ID of the token that was shown
	Operation   Operation
	Environment string
	Subject     string // ID or name of what it is about
	Reason      string
	Address     string // where it came from: host, without port
}

// Recorder keeps entries. It must not fail what it records; it tells of its own failures itself.
type Recorder interface {
	Record(ctx context.Context, e Entry)
}

// Log is a Recorder that writes to a log.
type Log struct{ *slog.Logger }

// Record writes one line.
func (l Log) Record(ctx context.Context, e Entry) {
	if l.Logger == nil {
		return
	}
	level := slog.LevelInfo
	switch e.Kind {
	case "denied", "token.refused", "approval.refused", "login.refused", "session.refused":
		level = slog.LevelWarn
	}
	l.LogAttrs(ctx, level, e.Kind, slog.String("actor", e.Actor), slog.String("token", e.Token), slog.String("operation", string(e.Operation)),
		slog.String("environment", e.Environment), slog.String("subject", e.Subject), slog.String("reason", e.Reason), slog.String("address", e.Address))
}
