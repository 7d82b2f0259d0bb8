package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/examples/acme"
)

// waits is the exit code of a promotion that waits for people.
const waits = 3

// asks is what production asks of people once it does.
type asks struct {
	opens  time.Time         // its window
	tokens map[string]string // files, by name
	tried  bool              // who asked has tried to approve
}

// opensIn is how long production's window stays closed in the story: long enough to be met, and no more than a few seconds.
const opensIn = 6 * time.Second

// askPeople has the operators declare that production asks for an approval, and a window that is about to open.
func (s *story) askPeople(ctx context.Context) error {
	s.say("From now on production asks for an approval, and has a window.")
	a := &asks{tokens: map[string]string{}}
	for _, name := range acme.Approvers {
		a.tokens[name] = filepath.Join(s.work, name+".token")
	}
	// The users have to be there before they get a token, and the window is to open after all that.
	if err := acme.AskPeople(s.estate(), time.Now().Add(time.Hour)); err != nil {
		return err
	}
	for name, file := range a.tokens {
		if err := s.cli.Ask(ctx, nil, "token", "create", name, "--out", file); err != nil {
			return err
		}
	}
	a.opens = time.Now().Add(opensIn).Truncate(time.Second)
	if err := acme.OpenAt(s.estate(), a.opens); err != nil {
		return err
	}
	s.asks = a
	return s.commit(ctx, "production asks for an approval, and has a window")
}

// agree lets people agree to a promotion that waits for them, one after the other until enough have, and follows it to its end.
func (s *story) agree(ctx context.Context, promotion string) (code int, err error) {
	if !s.asks.tried {
		s.asks.tried = true
		s.say("Who asked for it cannot agree to it.")
		if code, err = show(ctx, s.cli, "approve", promotion); err != nil {
			return 0, err
		}
		if code != 1 {
			return 0, fmt.Errorf("who asked for promotion %s approved it: exit code %d, expected 1", promotion, code)
		}
	}
	for _, name := range acme.Approvers {
		s.say("%s agrees.", strings.ToUpper(name[:1])+name[1:])
		if code, err = show(ctx, s.cli, "approve", promotion, "--reason", "seen in test", "--token-file", s.asks.tokens[name]); err != nil {
			return 0, err
		}
		if code != 0 {
			return 0, fmt.Errorf("%s could not approve promotion %s: exit code %d", name, promotion, code)
		}
		if code, err = show(ctx, s.cli, "promotion", "watch", promotion); err != nil || code != waits {
			return code, err
		}
	}
	return code, nil
}

// waited looks whether the last promotion has waited for what production asks.
func (s *story) waited() error {
	var gates []step
	for _, each := range s.last().promotion.one().Steps {
		if each.Name == "gates" {
			gates = append(gates, each)
		}
	}
	if len(gates) < 2 || gates[0].Outcome != "waits" || !strings.Contains(gates[0].Detail, "environment/approvals: ") {
		return fmt.Errorf("%s did not wait for an approval: %v", s.last().release, gates)
	}
	if !s.asks.tried {
		return errors.New("nobody has tried to approve what is their own")
	}
	passed := gates[len(gates)-1]
	if passed.Outcome != "done" || passed.Finished.Before(s.asks.opens) {
		return fmt.Errorf("%s went through its gates (%s) at %s, before the window opened at %s", s.last().release, passed.Outcome, passed.Finished.Format(time.TimeOnly), s.asks.opens.Format(time.TimeOnly))
	}
	switch {
	case strings.Contains(gates[0].Detail, "environment/window: "):
		s.say("It waited for the approval, and for the window to open.")
	case gates[0].Started.Before(s.asks.opens.Add(-time.Second)):
		return fmt.Errorf("%s did not wait for the window: %s", s.last().release, gates[0].Detail)
	default: // a machine so busy that the window was open before it came so far
		s.say("It waited for the approval; the window was open already.")
	}
	return nil
}
