package server

import (
	"context"
	"crypto"
	"fmt"
	"iter"
	"path/filepath"
	"time"

	"github.com/waybill-dev/waybill/internal/attest"
	"github.com/waybill-dev/waybill/internal/impact"
	"github.com/waybill-dev/waybill/internal/keys"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/waybill"
)

// HeadFile is the name of the file, in the data folder, that holds the newest signed head of the ledger.
const HeadFile = "ledger-head.json"

// signer opens the installation's key. It is read anew each time: a rotation takes effect at once.
func (s *server) signer(ctx context.Context) (crypto.Signer, error) {
	return keys.OpenSigner(ctx, filepath.Join(KeyFolder(s.config.Data), keys.SigningFile))
}

func (s *server) newLedger() *ledger.Ledger {
	return ledger.New(s.store.Pool, ledger.Options{Signer: s.signer, HeadFile: filepath.Join(s.config.Data, HeadFile), Log: s.log})
}

// verifyLedger verifies all of it, after it was signed up to now.
func (s *server) verifyLedger(ctx context.Context) (ledger.Report, error) {
	if _, err := s.book.Cover(ctx); err != nil {
		return ledger.Report{}, err
	}
	own, err := keys.SigningKeys(KeyFolder(s.config.Data))
	if err != nil {
		return ledger.Report{}, err
	}
	kept, err := ledger.ReadHeads(filepath.Join(s.config.Data, HeadFile))
	if err != nil {
		return ledger.Report{}, err
	}
	return ledger.Verification{Lines: func() iter.Seq2[ledger.Line, error] { return s.book.Lines(ctx) }, Keys: attest.OwnKeys(own), Anchors: kept, Now: time.Now()}.Verify()
}

// checkLedger says up to where the ledger is signed, or what is wrong with it.
func (s *server) checkLedger(ctx context.Context) (string, error) {
	report, err := s.verifyLedger(ctx)
	if err == nil && report.Problem != nil {
		err = report.Problem
	}
	return fmt.Sprintf("%d entries verified, signed up to entry %d", report.Entries, report.Covered), err
}

// recordStart writes to the ledger which program serves from now on.
func (s *server) recordStart(ctx context.Context) error {
	return ledger.Record(ctx, s.store.Pool, ledger.Event{Kind: ledger.ServerStarted, Payload: map[string]any{"version": s.config.Version, "instance": s.instance}})
}

// cutWaybill cuts and signs the waybill of a promotion.
func (s *server) cutWaybill(ctx context.Context, promotion string) ([]byte, error) {
	sources := waybill.Sources{Store: s.store, Ledger: s.book, Checkpoints: s.bucket, Attestations: s.attestations, Version: s.config.Version}
	d, err := sources.Gather(ctx, promotion)
	if err != nil {
		return nil, err
	}
	signer, err := s.signer(ctx)
	if err != nil {
		return nil, err
	}
	return waybill.Seal(ctx, d, signer)
}

// signImpact signs an assessment.
func (s *server) signImpact(ctx context.Context, a *impact.Assessment) ([]byte, error) {
	signer, err := s.signer(ctx)
	if err != nil {
		return nil, err
	}
	return impact.Seal(ctx, a, signer)
}

// attestations reads what was signed of a release, by the trust that the estate declares now.
func (s *server) attestations(ctx context.Context, r release.Release, environment string) (attest.Report, error) {
	declared, err := s.declared(ctx)
	if err != nil {
		return attest.Report{}, err
	}
	trust := declared.TrustFor(environment)
	var own []keys.VerifyingKey
	if trust.OwnKey {
		if own, err = keys.SigningKeys(KeyFolder(s.config.Data)); err != nil {
			return attest.Report{}, err
		}
	}
	policy, err := attest.PolicyOf(trust, own, time.Now())
	if err != nil {
		return attest.Report{}, err
	}
	_, before := declared.Before(environment)
	policy.AllowDirty = policy.AllowDirty || !before
	images := s.images()
	ref, auth, err := images.Locate(r.Repository + "@" + r.Digest)
	if err != nil {
		return attest.Report{}, err
	}
	image, err := attest.Open(ctx, ref, auth, images.Transport)
	if err != nil {
		return attest.Report{}, err
	}
	return attest.Verify(ctx, image, policy)
}
