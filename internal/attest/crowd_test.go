package attest

import (
	"context"
	"fmt"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/waybill-dev/waybill/internal/long"
)

// Many servers attach to one image at once: none of their attestations is lost, neither for Waybill
// nor for other tools, which know the API and the index only.
func TestManyAttachAtOnce(t *testing.T) {
	long.Test(t)
	const servers, each = 12, 3
	onBoth(t, func(t *testing.T, s *stand) {
		key := newKey(t)
		want := map[string]bool{}
		results := make(chan string, servers*each)
		start := make(chan struct{})
		group, ctx := errgroup.WithContext(t.Context())
		for i := range servers {
			image := s.open() // a server of its own: nothing is shared but the registry
			group.Go(func() error {
				<-start
				for j := range each {
					attached, err := image.Attest(ctx, Claim{Type: Checks, Predicate: map[string]any{"passed": true, "by": fmt.Sprintf("%d/%d", i, j)}}, key)
					if err != nil {
						return err
					}
					results <- attached.Digest
				}
				return nil
			})
		}
		close(start)
		require.NoError(t, group.Wait())
		close(results)
		for digest := range results {
			want[digest] = true
		}
		require.Len(t, want, servers*each)

		got := map[string]bool{}
		for _, a := range s.verify(Policy{Keys: PublicKeys(&key.PublicKey), Now: now}).Attestations {
			require.True(t, a.OK, "%v", a.Refused)
			got[a.Digest] = true
		}
		require.Equal(t, want, got)
		require.Equal(t, want, s.seenByOthers())
	})
}

// seenByOthers are the referrers as a client finds them that follows the specification and nothing else.
func (s *stand) seenByOthers() map[string]bool {
	s.t.Helper()
	found, err := remote.Referrers(s.ref("acme").Context().Digest(s.digest), remote.WithAuth(s.auth))
	require.NoError(s.t, err)
	m, err := found.IndexManifest()
	require.NoError(s.t, err)
	seen := map[string]bool{}
	for _, d := range m.Manifests {
		seen[d.Digest.String()] = true
	}
	return seen
}

// The same build on several machines at once is one attestation.
func TestSameAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, s *stand) {
		key := newKey(t)
		group, ctx := errgroup.WithContext(t.Context())
		for range 8 {
			image := s.open()
			group.Go(func() error {
				_, err := image.Attest(ctx, built(), key)
				return err
			})
		}
		require.NoError(t, group.Wait())
		require.Len(t, s.verify(trusting(key)).Attestations, 1)
	})
}

// What another tool has put into the index stays there.
func TestOthersStayInTheIndex(t *testing.T) {
	s := newStand(t, registries["stock"])
	image := s.open()
	foreign := s.push("foreign")
	hash, err := v1.NewHash(foreign)
	require.NoError(t, err)
	content, err := image.manifest(t.Context(), hash)
	require.NoError(t, err)
	d, err := describe(content, "application/vnd.oci.image.manifest.v1+json")
	require.NoError(t, err)
	d.ArtifactType = "application/somebody.elses"
	writeIndex(t, image, d)
	s.attest(built(), newKey(t))
	seen := s.seenByOthers()
	require.Len(t, seen, 2)
	require.True(t, seen[foreign])
}

func TestAttachStopsWithItsContext(t *testing.T) {
	s := newStand(t, registries["own"])
	image := s.open()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := image.Attest(ctx, built(), newKey(t))
	require.ErrorIs(t, err, context.Canceled)
}
