package waybill

import (
	"bytes"
	"context"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/internal/attest"
	"github.com/waybill-dev/waybill/internal/ledger"
)

// Seal signs a waybill: a Sigstore bundle with an in-toto statement about the release's image.
func Seal(ctx context.Context, d Document, with crypto.Signer) ([]byte, error) {
	bundle, err := attest.SignDocument(ctx, attest.Claim{Type: PredicateType, Predicate: d}, d.Release.Repository, d.Release.Digest, with)
	if err != nil {
		return nil, fmt.Errorf("sign the waybill of promotion %s: %w", d.Promotion.ID, err)
	}
	return bundle, nil
}

// Opened is a waybill that was verified.
type Opened struct {
	Document Document
	Key      attest.Key // that has signed it
	Bundle   []byte
	Page     bool // it was read from a page, which shows what the bundle says
}

// ErrUntrue is in every error that says that a file is not what was signed.
var ErrUntrue = errors.New("the waybill does not hold")

func untrue(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrUntrue, fmt.Errorf(format, args...))
}

// Open verifies a waybill, given as a bundle or as the page that was made of one: it is signed with
// one of the keys, the ledger's chain leads from its entries to a head that is signed too, both speak
// of the same promotion, and a page shows exactly what its bundle says. Nothing else is needed, neither a
// server nor the internet.
func Open(content []byte, keys []attest.Key, now time.Time) (Opened, error) {
	o := Opened{Bundle: bytes.TrimSpace(content)}
	if looksLikePage(content) {
		bundle, err := bundleOf(content)
		if err != nil {
			return o, untrue("%w", err)
		}
		o.Bundle, o.Page = bundle, true
	}
	signed, err := attest.OpenDocument(o.Bundle, PredicateType, keys, now)
	var refused *attest.Refused
	if errors.As(err, &refused) {
		return o, untrue("%s", refused.Reason)
	}
	if err != nil {
		return o, untrue("%w", err)
	}
	o.Key = signed.Key
	if err := json.Unmarshal(signed.Predicate, &o.Document); err != nil {
		return o, untrue("its content does not parse: %w", err)
	}
	d := &o.Document
	if d.Release.Digest != signed.Digest {
		return o, untrue("it speaks of release %s, and its subject is %s", d.Release.Digest, signed.Digest)
	}
	if err := d.Ledger.Verify(keys); err != nil {
		return o, untrue("its proof from the ledger: %w", err)
	}
	if err := d.agrees(); err != nil {
		return o, untrue("%w", err)
	}
	if o.Page {
		var again bytes.Buffer
		if err := WritePage(&again, o.Document, o.Bundle); err != nil {
			return o, err
		}
		if !bytes.Equal(again.Bytes(), content) {
			return o, untrue("the bundle inside the page is genuine, and the page does not show it as this Waybill would: it was altered, or made by another version. Make it anew from the bundle: waybill verify FILE --html PAGE")
		}
	}
	return o, nil
}

// agrees checks that the document says of the promotion what the ledger says.
func (d *Document) agrees() error {
	var ended string
	for _, e := range d.Ledger.Entries {
		if e.Promotion != d.Promotion.ID {
			return fmt.Errorf("entry %d of the ledger is of promotion %s, and the waybill of %s", e.Sequence, e.Promotion, d.Promotion.ID)
		}
		if e.Kind == ledger.PromotionEnded {
			var p struct {
				Outcome string `json:"outcome"`
			}
			if err := e.Payload.Into(&p); err != nil {
				return fmt.Errorf("entry %d of the ledger: %w", e.Sequence, err)
			}
			ended = p.Outcome
		}
	}
	if d.Final() && ended != d.Promotion.Outcome {
		return fmt.Errorf("it says that the promotion ended as %q, and the ledger says %q", d.Promotion.Outcome, ended)
	}
	return nil
}

const (
	bundleBegin = `<script type="text/plain" id="waybill-bundle">`
	bundleEnd   = `</script>`
)

func looksLikePage(content []byte) bool {
	return bytes.HasPrefix(bytes.TrimSpace(content[:min(len(content), 200)]), []byte("<!"))
}

// bundleOf takes the bundle out of a page.
func bundleOf(page []byte) ([]byte, error) {
	_, rest, found := bytes.Cut(page, []byte(bundleBegin))
	text, _, ended := bytes.Cut(rest, []byte(bundleEnd))
	if !found || !ended {
		return nil, errors.New("the page holds no bundle; it was not made by waybill")
	}
	bundle, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil {
		return nil, fmt.Errorf("the bundle inside the page cannot be read: %w", err)
	}
	return bundle, nil
}
