package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/examples/acme"
	"github.com/waybill-dev/waybill/examples/acme/client"
)

// rehearsed is what `waybill rehearsal list -o json` says of one.
type rehearsed struct {
	ID          string `json:"id"`
	ReleaseName string `json:"release_name"`
	Outcome     string `json:"outcome"`
	Report      *struct {
		Class     string  `json:"class"`
		Failure   string  `json:"failure"`
		Pause     string  `json:"pause"`
		Predicted float64 `json:"predicted_seconds"`
		Recovery  float64 `json:"recovery_seconds"`
		OwnCommit string  `json:"own_commit"`
	} `json:"report"`
}

// requireRehearsal has the operators declare that production lets in only what was rehearsed, and take their own word on
// the releases back.
func (s *story) requireRehearsal(ctx context.Context) error {
	if err := acme.RequireRehearsal(s.estate(), "production"); err != nil {
		return err
	}
	return s.takeBackWord(ctx, "production: no release without a rehearsal")
}

// takeBackWord has the operators declare nothing about any release, so that only rehearsals do.
func (s *story) takeBackWord(ctx context.Context, message string) error {
	if err := os.Remove(filepath.Join(s.estate(), acme.Classifications)); err != nil {
		return err
	}
	return s.commit(ctx, message)
}

// rehearse tries a release on a copy of an environment's data before anything else happens there. expected is what must
// come of it.
func (s *story) rehearse(ctx context.Context, release, environment, expected string) error {
	tenant := environment + "/acme"
	s.say("Release %s is rehearsed on a copy of %s.", release, environment)
	if environment == "production" && s.crew != nil {
		mark := s.crew.Tally.Mark()
		s.since = &mark
	}
	if err := s.mustRun(ctx, "checkpoint", "create", tenant); err != nil {
		return err
	}
	code, err := show(ctx, s.cli, "rehearse", release, "--env", environment, "--html", filepath.Join(s.work, "rehearsal-"+release+"-"+environment+".html"))
	if err != nil {
		return err
	}
	var list []rehearsed
	if err := s.cli.Ask(ctx, &list, "rehearsal", "list", "--limit", "1"); err != nil {
		return err
	}
	if len(list) == 0 || list[0].ReleaseName != release {
		return fmt.Errorf("the rehearsal of %s is not in the list", release)
	}
	s.rehearsed = rehearsed{}
	if err := s.cli.Ask(ctx, &s.rehearsed, "rehearsal", "show", list[0].ID); err != nil && code == 0 {
		return err
	}
	found := list[0].Outcome
	if r := s.rehearsed.Report; r != nil && r.Class != "" {
		found = r.Class
	}
	if found != expected {
		return fmt.Errorf("the rehearsal of %s in %s ends as %q; the story says %q; see: waybill rehearsal show %s", release, environment, found, expected, list[0].ID)
	}
	return nil
}

// refused: r3 never comes near production, because the rehearsal has met the order that only production has.
func (s *story) refused(ctx context.Context) error {
	if err := s.promote(ctx, "r3", "production", rolledBack); err != nil {
		return err
	}
	rollout := s.last().promotion.one()
	if hold, ok := rollout.step("hold", false); ok || rollout.HeldSeconds > 0 {
		return fmt.Errorf("r3 should not have come as far as production; it was held for %.1f s (%s)", rollout.HeldSeconds, hold.Detail)
	}
	return s.because("rehearsal", "acme_label", "?")
}

// busy is how many more people work, and how often, while r6 comes: in the busy hour.
const busy, busyPace = 20, 20 * time.Second

// sixth: every probe and every flow of r6 is green, the rehearsal finds nothing against it, and each delivery takes longer to validate.
// Real traffic shows it at a small weight.
func (s *story) sixth(ctx context.Context) (err error) {
	if err := s.prepare(ctx, "r6", "compatible"); err != nil {
		return err
	}
	s.say("The operators declare that a release under which deliveries take longer to validate goes back.")
	if err := acme.JudgeValidation(s.estate(), "production"); err != nil {
		return err
	}
	if err := s.commit(ctx, "production: no slower at the docks"); err != nil {
		return err
	}
	s.say("It is the busy hour: %d more people come to work.", busy)
	rush := &client.Crew{Site: s.production, Login: s.crew.Login, Password: s.crew.Password, People: busy, Pace: busyPace,
		Goods: s.crew.Goods, Ledger: s.ledger, Tally: s.crew.Tally, Prefix: "RUSH"}
	if err := rush.Start(ctx); err != nil {
		return err
	}
	err = s.promote(ctx, "r6", "production", rolledBack)
	err = errors.Join(err, rush.Stop())
	begun, shipped := rush.Orders()
	s.rushed[0], s.rushed[1] = begun, shipped
	if err != nil {
		return err
	}
	rollout := s.last().promotion.one()
	shift, ok := rollout.step("shift", false)
	if !ok || shift.Outcome != "failed" {
		return fmt.Errorf("r6 should have failed while traffic moved; that step is %q: %s", shift.Outcome, shift.Detail)
	}
	if err := s.because("at 25 % of the traffic", "picking_validate.seconds"); err != nil {
		return err
	}
	s.say("Its waybill says so in a sentence and in a chart:")
	if err := s.mustRun(ctx, "promotion", "waybill", s.last().promotion.ID); err != nil {
		return err
	}
	if err := s.mustRun(ctx, "promotion", "waybill", s.last().promotion.ID, "-o", "html", "--out", filepath.Join(s.work, "waybill-r6.html")); err != nil {
		return err
	}
	return errors.Join(s.unharmed(), s.serves(ctx, "r5", "r6"))
}

// seventh: r7 has a script that commits midway. It cannot be one transaction, so it comes in a frozen window; it is
// broken in production, and the database goes back to the moment of the freeze, with every order that was acknowledged.
func (s *story) seventh(ctx context.Context) error {
	if err := s.build(ctx, "r7"); err != nil {
		return err
	}
	s.say("Test rehearses nothing, so the developers have to say that r7's script commits: in test their word counts.")
	if err := acme.ClassifyBatches(s.estate(), "r7"); err != nil {
		return err
	}
	if err := s.commit(ctx, "r7 commits by itself"); err != nil {
		return err
	}
	if err := s.promote(ctx, "r7", "test", promoted); err != nil {
		return err
	}
	if hold, ok := s.last().promotion.one().step("hold", false); !ok || !strings.HasPrefix(hold.Detail, "frozen") {
		return fmt.Errorf("test should have been frozen for r7; that step is %q: %s", hold.Outcome, hold.Detail)
	}
	s.say("Production is not to go by anybody's word: it is taken back, and the rehearsal has to find out.")
	if err := s.takeBackWord(ctx, "r7: the rehearsal says how it rolls"); err != nil {
		return err
	}
	if err := s.rehearse(ctx, "r7", "production", "breaking"); err != nil {
		return err
	}
	if r := s.rehearsed.Report; r.Pause != "freeze" || r.OwnCommit == "" {
		return fmt.Errorf("r7's script commits, so it needs a frozen window; the rehearsal says %q (%s)", r.Pause, r.OwnCommit)
	}
	if s.watcher != nil { // a browser that shows the page is no fault, but it is no form either
		if err := s.watcher.faults(s.begun); err != nil {
			return err
		}
		s.watcher.stop()
		s.watcher = nil
	}
	databaseURL, err := s.databaseURL(s.production.Database)
	if err != nil {
		return err
	}
	before, err := fingerprint(ctx, databaseURL)
	if err != nil {
		return err
	}
	if err := s.promote(ctx, "r7", "production", rolledBack); err != nil {
		return err
	}
	rollout := s.last().promotion.one()
	if update, ok := rollout.step("update", false); !ok || update.Outcome != "done" {
		return fmt.Errorf("r7's update should have committed; it is %q: %s", update.Outcome, update.Detail)
	}
	if back, ok := rollout.step("update", true); !ok || back.Outcome != "done" {
		return fmt.Errorf("r7's update should have been taken back by a restore; that step is %q: %s", back.Outcome, back.Detail)
	}
	if turned := s.last().requests.TurnedAway; turned == 0 {
		return errors.New("nobody met the page while production was frozen, so the story proves nothing")
	}
	if err := s.because("printed"); err != nil {
		return err
	}
	after, err := fingerprint(ctx, databaseURL)
	if err != nil {
		return err
	}
	if changed := difference(before, after); len(changed) > 0 {
		return fmt.Errorf("r7 was taken back and left changes in %v", changed)
	}
	s.say("Production is back at the moment of the freeze: schema and tables by digest, and all %d acknowledged orders.", s.last().audit.Checked)
	return errors.Join(s.unharmed(), s.serves(ctx, "r5", "r6"))
}
