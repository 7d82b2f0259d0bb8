package main

import (
	"context"
	"time"
)

// ahead is a release that goes to test while the one before it is in production and waits for what people's work tells.
type ahead struct {
	release string
	asked   chan asked // one
	end     context.CancelFunc
}

// asked is a promotion that was asked for and is not followed yet.
type asked struct {
	promotion string // id
	begun     time.Time
	err       error
}

// goAhead has the developers build the next release and bring it to test once the promotion in production shifts traffic: from
// there on it waits for evidence, and the machine has time.
func (s *story) goAhead(ctx context.Context, release, behind string) {
	ctx, end := context.WithCancel(ctx)
	s.ahead = &ahead{release: release, asked: make(chan asked, 1), end: end}
	go func(into chan<- asked) { into <- s.askAhead(ctx, release, behind) }(s.ahead.asked)
}

func (s *story) askAhead(ctx context.Context, release, behind string) asked {
	for {
		var p promotion
		if err := s.cli.Ask(ctx, &p, "promotion", "show", behind); err != nil {
			return asked{err: err}
		}
		if _, shifting := p.one().step("shift", false); shifting || !p.Finished.IsZero() {
			break
		}
		select {
		case <-ctx.Done():
			return asked{err: ctx.Err()}
		case <-time.After(time.Second):
		}
	}
	if s.watcher != nil {
		s.watcher.rest() // it has seen the old release on the new schema
	}
	if err := s.build(ctx, release); err != nil {
		return asked{err: err}
	}
	s.say("Release %s goes to test meanwhile.", release)
	return s.ask(ctx, release, "test")
}

// ask asks for a promotion.
func (s *story) ask(ctx context.Context, release, environment string) asked {
	a := asked{begun: time.Now()}
	var answer struct {
		Promotion string `json:"promotion"`
	}
	a.err = s.cli.Ask(ctx, &answer, "promote", release, environment, "--detach")
	a.promotion = answer.Promotion
	return a
}

// takeAhead returns the promotion to test of a release that went ahead, if it did.
func (s *story) takeAhead(release string) (asked, bool) {
	if s.ahead == nil || s.ahead.release != release {
		return asked{}, false
	}
	a := <-s.ahead.asked
	s.ahead.end()
	s.ahead = nil
	return a, true
}

// endAhead gives up what went ahead and was never taken.
func (s *story) endAhead() {
	if s.ahead != nil {
		s.ahead.end()
		<-s.ahead.asked
		s.ahead = nil
	}
}
