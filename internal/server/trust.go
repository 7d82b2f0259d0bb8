package server

import (
	"context"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/internal/attest"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/keys"
	"github.com/waybill-dev/waybill/internal/promotion"
	"github.com/waybill-dev/waybill/internal/release"
)

// intact remembers which layers this process has read and found to be what their digests say, so
// that a base image of hundreds of megabytes is read once and not for every tenant.
type intact struct {
	turn  chan struct{} // holds one: who reads reads alone, and the others then find it done
	mu    sync.Mutex
	known map[string]bool
}

func newIntact() *intact {
	i := &intact{turn: make(chan struct{}, 1), known: map[string]bool{}}
	i.turn <- struct{}{}
	return i
}

// check reads what nobody has read yet.
func (i *intact) check(ctx context.Context, image attest.Image) error {
	select {
	case <-i.turn:
		defer func() { i.turn <- struct{}{} }()
	case <-ctx.Done():
		return ctx.Err()
	}
	var read []string
	err := image.Whole(ctx, func(layer string) bool {
		i.mu.Lock()
		defer i.mu.Unlock()
		if !i.known[layer] {
			read = append(read, layer)
		}
		return i.known[layer]
	})
	if err == nil {
		i.mu.Lock()
		defer i.mu.Unlock()
		for _, layer := range read {
			i.known[layer] = true
		}
	}
	return err
}

// trust decides whether a release may enter an environment: what the registry holds is what its
// digest says, and what the estate asks for was said of it by those whom the estate trusts. A
// *attest.Refused is final; any other error says that it could not be found out.
func (s *server) trust(layers *intact) func(context.Context, release.Release, promotion.Snapshot) error {
	return func(ctx context.Context, r release.Release, snapshot promotion.Snapshot) error {
		image, report, err := s.attested(ctx, r, snapshot)
		if err != nil {
			return err
		}
		if err := report.Err(); err != nil {
			return err
		}
		return layers.check(ctx, image)
	}
}

// attested reads what is attached to a release's image, and weighs it by what the estate trusts.
func (s *server) attested(ctx context.Context, r release.Release, snapshot promotion.Snapshot) (image attest.Image, report attest.Report, err error) {
	declared := (&estate.Estate{}).TrustFor(snapshot.Environment.Name)
	if snapshot.Trust != nil {
		declared = *snapshot.Trust
	}
	var own []keys.VerifyingKey
	if declared.OwnKey {
		// Read anew each time: a rotation takes effect at once.
		if own, err = keys.SigningKeys(KeyFolder(s.config.Data)); err != nil {
			return nil, report, err
		}
	}
	policy, err := attest.PolicyOf(declared, own, time.Now())
	if err != nil {
		return nil, report, err
	}
	// Uncommitted work may be tried out where releases begin their way, and nowhere else.
	policy.AllowDirty = policy.AllowDirty || snapshot.Before == ""
	images := s.images()
	ref, auth, err := images.Locate(r.Repository + "@" + r.Digest)
	if err != nil {
		return nil, report, err
	}
	if image, err = attest.Open(ctx, ref, auth, images.Transport); err != nil {
		return nil, report, err
	}
	report, err = attest.Verify(ctx, image, policy)
	return image, report, err
}
