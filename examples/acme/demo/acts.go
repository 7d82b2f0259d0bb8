package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/examples/acme/client"
)

// first: r1 reaches production, and people begin to work.
func (s *story) first(ctx context.Context) error {
	if err := s.build(ctx, "r1"); err != nil {
		return err
	}
	if err := s.createInitial(ctx); err != nil {
		return err
	}
	s.say("Acme goes live: production starts as a copy of test, and has an order that test does not have.")
	if err := s.mustRun(ctx, "tenant", "create", "production/acme", "--release", "r1", "--from", s.initial.Checkpoint); err != nil {
		return err
	}
	if err := s.promote(ctx, "r1", "production", promoted); err != nil {
		return err
	}
	goods, err := client.Seed{ClerkPassword: s.initial.Clerk, OddOrder: true}.Fill(ctx, s.production)
	if err != nil {
		return err
	}
	s.initial.Goods = goods
	if err := s.serves(ctx, "r1", "r1"); err != nil {
		return err
	}
	return s.hire(ctx)
}

// second: r2 changes database and view, and nobody notices.
func (s *story) second(ctx context.Context) error {
	if err := errors.Join(s.prepare(ctx, "r2", "compatible"), s.opened()); err != nil {
		return err
	}
	before := time.Now()
	if s.watcher != nil {
		s.watcher.hurry() // until traffic is shifted: see askAhead
		defer s.watcher.rest()
	}
	if err := s.askPeople(ctx); err != nil {
		return err
	}
	s.next = "r3"
	if err := s.promote(ctx, "r2", "production", promoted); err != nil {
		return err
	}
	if err := s.waited(); err != nil {
		return err
	}
	rollout := s.last().promotion.one()
	if rollout.HeldSeconds <= 0 {
		return errors.New("r2 changed the database without a hold")
	}
	if err := errors.Join(s.unharmed(), s.serves(ctx, "r2", "r2")); err != nil {
		return err
	}
	if s.watcher == nil {
		return nil
	}
	s.watcher.hurry()
	if err := s.watcher.until(ctx, s.last().ended, time.Minute, "r2's new field on the form", func(v visit) bool { return v.bySlot }); err != nil {
		return errors.Join(err, s.watcher.faults(before))
	}
	s.picture(ctx, "r2-form")
	// The proof: a page that was asked for behind the hold, so answered after the update, came from
	// the old pool, without the field that it does not know.
	hold, ok := rollout.step("hold", false)
	if !ok {
		return errors.New("r2's promotion tells of no hold")
	}
	old := 0
	for _, v := range s.watcher.since(hold.Finished) {
		if v.err == nil && v.how == "reloaded" && !v.bySlot {
			old++
		}
	}
	if old == 0 {
		return fmt.Errorf("the browser never loaded the form from the old pool after the update (hold ended %s), so the story proves nothing:\n  %s",
			hold.Finished.Local().Format(time.TimeOnly), s.watcher.log(before))
	}
	if err := s.watcher.faults(before); err != nil {
		return fmt.Errorf("the browser had trouble while r2 came: %w", err)
	}
	s.say("The browser session from before r2 loaded the changed form %d times from the old pool, then from the new one, without an error.", old)
	return nil
}

// third: r3 fails on an order that only production has, and nothing happened.
func (s *story) third(ctx context.Context) error {
	if err := s.prepare(ctx, "r3", "fails"); err != nil {
		return err
	}
	databaseURL, err := s.databaseURL(s.production.Database)
	if err != nil {
		return err
	}
	before, err := fingerprint(ctx, databaseURL)
	if err != nil {
		return err
	}
	if s.full {
		err = s.refused(ctx)
	} else if err = s.promote(ctx, "r3", "production", rolledBack); err == nil {
		err = s.because("acme_label", "?")
	}
	if err != nil {
		return err
	}
	after, err := fingerprint(ctx, databaseURL)
	if err != nil {
		return err
	}
	if changed := difference(before, after); len(changed) > 0 {
		return fmt.Errorf("r3 was taken back and left changes in %s", strings.Join(changed, ", "))
	}
	s.say("Schema and the %d tables that an update writes are the same as before, by digest.", len(known))
	return errors.Join(s.unharmed(), s.serves(ctx, "r2", "r2"))
}

// fourth: r4 commits, looks healthy, and is broken with production's setting.
func (s *story) fourth(ctx context.Context) error {
	if err := s.prepare(ctx, "r4", "compatible"); err != nil {
		return err
	}
	if err := s.promote(ctx, "r4", "production", rolledBack); err != nil {
		return err
	}
	rollout := s.last().promotion.one()
	update, ok := rollout.step("update", false)
	if !ok || update.Outcome != "done" {
		return fmt.Errorf("r4's update should have committed; it is %q: %s", update.Outcome, update.Detail)
	}
	if _, shifted := rollout.step("shift", false); shifted {
		return errors.New("r4's pool got traffic, though its flows fail")
	}
	verify, ok := rollout.step("verify", false)
	if !ok || verify.Outcome != "failed" {
		return fmt.Errorf("r4 should have failed its flows on the new pool; that step is %q: %s", verify.Outcome, verify.Detail)
	}
	if err := s.because("printed"); err != nil {
		return err
	}
	if took := s.last().promotion.Finished.Sub(verify.Finished); took > 30*time.Second {
		return fmt.Errorf("going back from r4 took %s; the story says seconds", took.Round(time.Second))
	}
	return errors.Join(s.unharmed(), s.serves(ctx, "r2", "r4"))
}

// fifth: r5 is breaking, and goes all at once behind a hold.
func (s *story) fifth(ctx context.Context) error {
	if err := s.prepare(ctx, "r5", "breaking"); err != nil {
		return err
	}
	if err := s.promote(ctx, "r5", "production", promoted); err != nil {
		return err
	}
	if class := s.last().promotion.Class; class != "breaking" {
		return fmt.Errorf("r5 rolled as %q; it is breaking", class)
	}
	if err := errors.Join(s.unharmed(), s.serves(ctx, "r5", "r5")); err != nil {
		return err
	}
	if s.watcher == nil {
		return nil
	}
	s.watcher.hurry()
	defer s.watcher.rest()
	if err := s.watcher.until(ctx, s.last().ended, time.Minute, "r5's new field on the form", func(v visit) bool { return v.byLoader }); err != nil {
		return errors.Join(err, s.watcher.faults(s.last().begun))
	}
	s.picture(ctx, "r5-form")
	return nil
}

// reckon sends everybody home and compares their record with the database.
func (s *story) reckon(ctx context.Context) error {
	var errs []error
	if s.watcher != nil {
		errs = append(errs, s.watcher.faults(s.begun))
		s.watcher.stop()
		s.watcher = nil
	}
	if err := s.crew.Stop(); err != nil {
		return err
	}
	databaseURL, err := s.databaseURL(s.production.Database)
	if err != nil {
		return err
	}
	audit, err := s.ledger.Audit(ctx, databaseURL)
	if err != nil {
		return err
	}
	begun, shipped := s.crew.Orders()
	begun, shipped = begun+s.rushed[0], shipped+s.rushed[1]
	count := s.crew.Tally.Since(0)
	if begun == 0 || shipped != begun {
		errs = append(errs, fmt.Errorf("%d of %d orders were shipped", shipped, begun))
	}
	if count.Failed > 0 {
		errs = append(errs, fmt.Errorf("%d of %d requests failed over the whole story; the first: %s: %w", count.Failed, count.Requests, count.Failures[0].What, count.Failures[0].Err))
	}
	errs = append(errs, audit.Err())
	s.say("People went home: %d orders placed, %d shipped, %d acknowledged and looked for, %d lost, %d doubled; %d requests, %d failed.",
		begun, shipped, audit.Checked, audit.Missing(), len(audit.Doubled), count.Requests, count.Failed)
	return errors.Join(errs...)
}

// prepare builds a release and brings it to test, where each of them passes. In the full story it is then rehearsed on
// production's data, which must prove that class, or that it "fails".
func (s *story) prepare(ctx context.Context, release, class string) error {
	if s.ahead == nil || s.ahead.release != release {
		if err := s.build(ctx, release); err != nil {
			return err
		}
	}
	if err := s.promote(ctx, release, "test", promoted); err != nil || !s.full {
		return err
	}
	return s.rehearse(ctx, release, "production", class)
}

// because looks for words in the reason of the last promotion, so that it was taken back for what
// the story says and for nothing else.
func (s *story) because(words ...string) error {
	reason := s.last().promotion.one().Reason
	for _, word := range words {
		if !strings.Contains(reason, word) {
			return fmt.Errorf("%s was taken back for another reason than told (%q is not in it): %s", s.last().release, word, reason)
		}
	}
	s.say("It went back by itself: %s", reason)
	return nil
}
