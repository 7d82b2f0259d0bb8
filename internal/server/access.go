package server

import (
	"context"
	"crypto/subtle"
	"os/user"
	"time"

	"github.com/waybill-dev/waybill/internal/approval"
	"github.com/waybill-dev/waybill/internal/identity"
	"github.com/waybill-dev/waybill/internal/promotion"
)

// owner names whoever holds the data folder's token: the user that the server runs as.
func owner() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return "owner"
}

// tokens are those of the users whom the estate declares today.
func (s *server) tokens() *identity.Tokens {
	return &identity.Tokens{Store: s.store, Now: time.Now, Access: s.access}
}

// sessions are those of browsers.
func (s *server) sessions() *identity.Sessions {
	tokens := s.tokens()
	return &identity.Sessions{Store: s.store, Tokens: tokens, Access: tokens.Access, Owner: owner(), Token: s.keys.Token(), Now: time.Now}
}

// passwords are those of the users whom the estate declares today.
func (s *server) passwords() *identity.Passwords {
	return &identity.Passwords{Store: s.store, Access: s.tokens().Access, Now: time.Now}
}

// mayPush says whether a token lets somebody write to the registry: that of the data folder, or one of a user who
// may make releases known.
func (s *server) mayPush(_, token string) bool {
	if subtle.ConstantTimeCompare([]byte(token), []byte(s.keys.Token())) == 1 {
		return true
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	person, err := s.tokens().Find(ctx, token)
	return err == nil && person.May(identity.ReleaseRegister, identity.Subject{}) == nil
}

// approvals is where people decide about promotions.
func (s *server) approvals(engine approval.Engine) *approval.Room {
	return &approval.Room{Store: s.store, Engine: engine, Access: s.tokens().Access, Recorder: s.recorder(), Now: time.Now}
}

// recorder keeps who was denied what: in the ledger.
func (s *server) recorder() identity.Recorder { return auditor{s} }

// gateApprovals is what the gates ask of people; the room is there once there is an engine.
func (s *server) gateApprovals(ctx context.Context, id, tenant string) (*promotion.Approvals, error) {
	return promotion.ApprovalsOf(s.approving)(ctx, id, tenant)
}

// releaseAuthors are the names and addresses of those who have made a release.
func (s *server) releaseAuthors(ctx context.Context, digest string) ([]string, error) {
	makers, err := s.store.MakersOf(ctx, digest)
	return append(makers.People, makers.Emails...), err
}
