package stage

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/waybill-dev/waybill/examples/acme/waybill"
)

// LogFile is where all servers of the stage write, one after the other.
func (s *Stage) LogFile() string { return filepath.Join(s.Folder, "waybill.log") }

// LogTail is the end of the server's log.
func (s *Stage) LogTail() string { return waybill.Tail(s.LogFile()) }

// cli is the binary on the stage's data folder.
func (s *Stage) cli() waybill.CLI { return waybill.CLI{Binary: s.Binary, Data: s.Data()} }

// Up starts the server, with further environment variables, and returns once it is ready. A server
// that ends before that is an error, which Server.Killed tells from others.
func (s *Stage) Up(ctx context.Context, environment ...string) error {
	if s.Server != nil && !s.Server.Gone() {
		return errors.New("the server is up already")
	}
	server, err := s.cli().Up(ctx, waybill.Up{Estate: s.estate(), Listen: s.Address, Log: s.LogFile(), Environment: environment})
	if server != nil {
		s.Server = server
	}
	return err
}

// Down asks the server to end and waits for it. A server that is gone is no error.
func (s *Stage) Down() error {
	if s.Server == nil || s.Server.Gone() {
		return nil
	}
	return s.Server.Stop()
}

// Ask runs a verb and decodes the JSON that it prints into result, unless that is nil. A
// *waybill.Refused carries the exit code.
func (s *Stage) Ask(ctx context.Context, result any, args ...string) error {
	return s.cli().Ask(ctx, result, args...)
}
