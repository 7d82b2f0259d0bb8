package waybill

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/attest"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/promotion"
	"github.com/waybill-dev/waybill/internal/store"
)

// cut makes the waybill of a promotion, signed.
func (s *shop) cut(id string) (Document, []byte) {
	s.t.Helper()
	d, err := s.sources.Gather(s.t.Context(), id)
	require.NoError(s.t, err)
	bundle, err := Seal(s.t.Context(), d, s.key)
	require.NoError(s.t, err)
	return d, bundle
}

func TestWaybill(t *testing.T) {
	s := setup(t)
	s.promotion("p1", estate.Compatible)
	d, _ := s.cut("p1")
	require.True(t, d.Final())
	require.Equal(t, "route", d.Reverse.Way)
	require.Equal(t, "waybill rollback p1", d.Reverse.Command)
	require.Len(t, d.Changes, 1)
	require.Equal(t, "acme_stock", d.Changes[0].Modules.Changed[0].Name)
	require.Equal(t, "acme_carrier", d.Changes[0].Modules.Added[0].Name)
	require.Len(t, d.Approvals, 1)
	require.Equal(t, "bob", d.Approvals[0].Actor)
	r := d.Rollouts[0]
	require.InDelta(t, 48.7, r.Rehearsal.RecoverySeconds, 0.001)
	require.Equal(t, "it is no longer kept", r.Checkpoints[0].Missing)
	require.Equal(t, []Traffic{{Step: "shift", Weight: "5 %", Evidence: "412 requests, none failed; the old release: 1 of 7,801"}, {Step: "shift", Weight: "50 %", Evidence: "4,120 requests, none failed"}, {Step: "shift", Weight: "100 %", Evidence: "r42"}}, r.Traffic[:3])
	require.Equal(t, "bake", r.Traffic[3].Step)

	s.exec(`insert into verdicts (rollout_id, stage, outcome, says, evidence) values ('p1-r', 'shift 5', 'PASS', '412 requests, none failed', '{"weight":5,"signals":[{"signal":"order_confirm","outcome":"PASS","says":"31 calls, none failed"}]}')`)
	d, bundle := s.cut("p1")
	require.Equal(t, []Traffic{{Step: "shift", Weight: "5 %", Outcome: "PASS", Evidence: "412 requests, none failed", Signals: []Signal{{Name: "order_confirm", Outcome: "PASS", Says: "31 calls, none failed"}}}}, d.Rollouts[0].Traffic)

	opened, err := Open(append(bundle, '\n'), s.keys(), time.Now())
	require.NoError(t, err)
	require.Equal(t, "p1", opened.Document.Promotion.ID)
	require.False(t, opened.Page)

	var page, again, text bytes.Buffer
	require.NoError(t, WritePage(&page, opened.Document, bundle))
	require.NoError(t, WritePage(&again, opened.Document, bundle))
	require.True(t, bytes.Equal(page.Bytes(), again.Bytes()))
	opened, err = Open(page.Bytes(), s.keys(), time.Now())
	require.NoError(t, err)
	require.True(t, opened.Page)
	signed, err := json.Marshal(opened.Document)
	require.NoError(t, err)
	for _, no := range []string{"<script src", "ZgotmplZ", "hush"} {
		require.False(t, strings.Contains(page.String(), no), no)
		require.False(t, strings.Contains(string(signed), no), no)
	}
	WriteText(&text, opened.Document)
	require.Contains(t, text.String(), "r42 into production: promoted")
	if file := os.Getenv("WAYBILL_TEST_PAGE"); file != "" { // to look at
		require.NoError(t, os.WriteFile(file, page.Bytes(), 0o644))
	}
}

// An emergency tells who broke the glass, who confirmed it, what was not asked, and what its review found.
func TestWaybillOfAnEmergency(t *testing.T) {
	s := setup(t)
	s.promotion("e1", estate.Compatible)
	shown := func(d Document) string {
		var text, html bytes.Buffer
		WriteText(&text, d)
		require.NoError(t, WritePage(&html, d, nil))
		require.Equal(t, d.Emergency != nil, strings.Contains(html.String(), "Broke the glass"))
		require.NotContains(t, html.String(), "ZgotmplZ")
		return text.String()
	}
	d, _ := s.cut("e1")
	require.Nil(t, d.Emergency)
	require.NotContains(t, shown(d), "emergency")

	s.exec("insert into emergencies (promotion_id, environment, asked_by, reason, second, skipped, asked_at, confirm_by) values ('e1', 'production', 'ann', 'nobody can ship', 'bert', '{environment/window,production/soak}', $1, $2)", began, began.Add(15*time.Minute))
	d, _ = s.cut("e1")
	require.Contains(t, shown(d), "bert has not confirmed it; the time for that ends, or ended, 2026-11-20 21:15:00 UTC")
	s.exec("update emergencies set confirmed_at = $1 where promotion_id = 'e1'", began.Add(time.Minute))
	d, _ = s.cut("e1")
	text := shown(d)
	for _, says := range []string{"ann: nobody can ship", "confirmed by bert, 2026-11-20 21:01:00 UTC", "not asked: environment/window, production/soak", "its review is open"} {
		require.Contains(t, text, says)
	}
	s.exec("update emergencies set reviewed_at = $1, reviewed_by = 'carl', note = 'we read the mails now' where promotion_id = 'e1'", began.Add(time.Hour))
	d, bundle := s.cut("e1")
	require.Contains(t, shown(d), "reviewed by carl, 2026-11-20 22:00:00 UTC: we read the mails now")
	opened, err := Open(bundle, s.keys(), time.Now())
	require.NoError(t, err)
	require.Equal(t, []string{"environment/window", "production/soak"}, opened.Document.Emergency.Skipped)
	require.Equal(t, &Review{By: "carl", Closed: began.Add(time.Hour), Note: "we read the mails now"}, opened.Document.Emergency.Review)
}

// Whoever alters anything is found out, with the public key alone.
func TestForgedWaybills(t *testing.T) {
	s := setup(t)
	s.promotion("p2", estate.Compatible)
	d, bundle := s.cut("p2")
	var page bytes.Buffer
	require.NoError(t, WritePage(&page, d, bundle))
	sealed := func(change func(*Document)) []byte {
		c := d
		c.Ledger.Entries = append(c.Ledger.Entries[:0:0], d.Ledger.Entries...)
		change(&c)
		forged, err := Seal(t.Context(), c, s.key) // by somebody who has the key, and not the ledger
		require.NoError(t, err)
		return forged
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	foreign, err := Seal(t.Context(), d, other)
	require.NoError(t, err)
	provenance, err := attest.SignDocument(t.Context(), attest.Claim{Type: attest.Provenance, Predicate: d}, "acme", newDigest, s.key)
	require.NoError(t, err)
	var parts struct {
		Envelope struct {
			Payload string `json:"payload"`
		} `json:"dsseEnvelope"`
	}
	require.NoError(t, json.Unmarshal(bundle, &parts))
	payload, err := base64.StdEncoding.DecodeString(parts.Envelope.Payload)
	require.NoError(t, err)
	altered := strings.Replace(string(bundle), parts.Envelope.Payload, base64.StdEncoding.EncodeToString(bytes.Replace(payload, []byte(`"ann"`), []byte(`"eve"`), 1)), 1)
	for name, c := range map[string]struct {
		content string
		says    string
	}{
		"payload altered":                 {altered, "altered"},
		"signed by another key":           {string(foreign), "not trusted"},
		"another statement":               {string(provenance), "expected " + PredicateType},
		"no bundle":                       {"{}", "no DSSE envelope"},
		"nothing":                         {"", "no Sigstore bundle"},
		"a word of the page":              {strings.Replace(page.String(), "people agree", "people do not", 1), "does not show it"},
		"a line more in the page":         {page.String() + "<p>Approved.</p>", "does not show it"},
		"the page without its bundle":     {strings.Replace(page.String(), `id="waybill-bundle"`, `id="x"`, 1), "holds no bundle"},
		"another outcome":                 {string(sealed(func(c *Document) { c.Promotion.Outcome = "rolled_back" })), "the ledger says"},
		"an entry left out":               {string(sealed(func(c *Document) { c.Ledger.Entries = append(c.Ledger.Entries[:2], c.Ledger.Entries[3:]...) })), "ledger"},
		"an entry altered":                {string(sealed(func(c *Document) { c.Ledger.Entries[1].Actor = "eve" })), "does not fit the chain"},
		"a head of another":               {string(sealed(func(c *Document) { c.Ledger.Head.Signature = []byte("x") })), "not signed"},
		"the ledger of another promotion": {string(sealed(func(c *Document) { c.Promotion.ID = "p1" })), "is of promotion p2"},
		"without a start":                 {string(sealed(func(c *Document) { c.Ledger.Start = c.Ledger.Head.Hash })), "ledger"},
	} {
		_, err := Open([]byte(c.content), s.keys(), time.Now())
		require.ErrorIs(t, err, ErrUntrue, name)
		require.ErrorContains(t, err, c.says, name)
	}
	keys := s.keys()
	keys[0].NotAfter = time.Now().Add(-time.Hour)
	_, err = Open(bundle, keys, time.Now())
	require.ErrorContains(t, err, "was valid until")
}

func TestHowItIsReversed(t *testing.T) {
	s := setup(t)
	s.promotion("p3", estate.Breaking)
	d, _ := s.cut("p3")
	require.Equal(t, "restore", d.Reverse.Way)
	require.Equal(t, "waybill rollback p3 --accept-loss", d.Reverse.Command)
	require.Contains(t, d.Reverse.Says, "2026-11-20T21:03:00Z is lost")
	s.exec("update tenants set serving_release = $1 where name = 'acme'", oldDigest)
	d, _ = s.cut("p3")
	require.Equal(t, "none", d.Reverse.Way)
	s.exec("update promotions set finished_at = null, outcome = '' where id = 'p3'")
	d, bundle := s.cut("p3")
	require.False(t, d.Final())
	require.Equal(t, "undo", d.Reverse.Way)
	_, err := Open(bundle, s.keys(), time.Now())
	require.NoError(t, err, "one that is not final is good too")
	s.exec("update promotions set finished_at = now(), outcome = 'rolled_back' where id = 'p3'")
	d, _ = s.cut("p3")
	require.Equal(t, "none", d.Reverse.Way)
}

func TestHowADeletionIsReversed(t *testing.T) {
	s := setup(t)
	s.promotion("p6", estate.Breaking)
	says := func(kind, want string) {
		t.Helper()
		s.exec("update promotions set kind = $1 where id = 'p6'", kind)
		d, _ := s.cut("p6")
		require.Equal(t, "none", d.Reverse.Way)
		require.Contains(t, d.Reverse.Says, want)
	}
	s.exec(`update tenants set live = live || '{"leaving": {"until": "2026-12-24T12:00:00Z", "checkpoint": "c1", "promotion": "p6"}}' where name = 'acme'`)
	says("delete", "Until 2026-12-24T12:00:00Z its data is there; take it back: waybill tenant undelete production/acme.")
	s.exec("update tenants set live = live - 'leaving' where name = 'acme'")
	says("delete", "It was taken back since")
	says("undelete", "waybill tenant delete production/TENANT")
	s.exec("delete from tenants where name = 'acme'")
	says("delete", "waybill tenant create production/acme --release RELEASE --from production/acme/CHECKPOINT")
	says("purge", "waybill checkpoint list production/acme")
}

func TestNoWaybill(t *testing.T) {
	s := setup(t)
	_, err := s.sources.Gather(t.Context(), "nobody's")
	require.ErrorIs(t, err, store.ErrNotFound)
	s.exec(`insert into promotions (id, kind, environment, release, release_name, requested_by, options, estate, estate_commit) values ('p4', 'checkpoint', 'production', '', '', 'ann', '{}', '{}', '')`)
	_, err = s.sources.Gather(context.Background(), "p4")
	require.ErrorIs(t, err, ErrNone)
}

// A waybill is what its schema says.
func TestSchema(t *testing.T) {
	s := setup(t)
	s.promotion("p5", estate.Compatible)
	d, _ := s.cut("p5")
	text, err := Schema()
	require.NoError(t, err)
	kept, err := os.ReadFile("../../docs/schemas/waybill.json")
	require.NoError(t, err)
	require.True(t, bytes.Equal(kept, text), "run make generate")
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	require.NoError(t, err)
	compiler := jsonschema.NewCompiler()
	require.NoError(t, compiler.AddResource("waybill.json", parsed))
	compiled, err := compiler.Compile("waybill.json")
	require.NoError(t, err)
	check := func(v any) error {
		encoded, err := json.Marshal(v)
		require.NoError(t, err)
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(encoded))
		require.NoError(t, err)
		return compiled.Validate(value)
	}
	require.NoError(t, check(d))
	require.Error(t, check(map[string]any{"issued": "now"}))
	for _, kind := range promotion.Kinds() {
		d.Promotion.Kind = kind
		require.NoError(t, check(d))
	}
	d.Promotion.Kind = "of no such kind"
	require.Error(t, check(d))
}
