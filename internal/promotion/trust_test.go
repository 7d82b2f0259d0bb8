package promotion

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/attest"
	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/store/storetest"
)

// What is not trusted does not enter: nothing is touched, nothing is tried again, and the release is
// not put into quarantine for it. The way back asks nobody.
func TestUntrustedDoesNotEnter(t *testing.T) {
	refusal := &attest.Refused{Code: attest.UnknownKey, Reason: "the provenance is signed with key x", WayOut: "build it again"}
	for name, test := range map[string]struct {
		admit  func(context.Context, *Work) (string, error)
		answer error
		asked  bool
		says   string
	}{
		"promote":         {admit, refusal, true, "release r1 is not trusted in untrusteddoesnotenter: the provenance is signed with key x — build it again"},
		"create":          {admitCreate, refusal, true, "release r1 is not trusted"},
		"registry away":   {admit, errors.New("connection refused"), true, "find out whether release r1 is trusted: connection refused"},
		"rollback":        {admitRollback, refusal, false, "no database here"},
		"promote trusted": {admit, nil, true, "no database here"},
	} {
		t.Run(name, func(t *testing.T) {
			w := &Work{Engine: &Engine{log: slog.New(slog.DiscardHandler)}}
			s := storetest.Shared(t, cluster(t))
			r := release.Release{Digest: "sha256:0011223344556677", Repository: "acme", Name: "r1", Series: "19.0", BridgeProtocol: bridge.Protocol, Created: time.Now()}
			require.NoError(t, s.PutRelease(t.Context(), r))
			asked := false
			w.rooms = Rooms{Store: s, Present: func(context.Context, release.Release) error { return nil },
				Trusted: func(_ context.Context, got release.Release, _ Snapshot) error {
					require.Equal(t, r.Digest, got.Digest)
					asked = true
					return test.answer
				}}
			w.promotion.Release, w.rollout.Environment = r.Digest, "untrusteddoesnotenter"
			defer func() {
				// Whoever was let in goes on to the database, which there is none of here.
				if p := recover(); p != nil {
					require.Equal(t, "no database here", test.says, "%v", p)
				}
				require.Equal(t, test.asked, asked)
				require.True(t, w.memory.NotAdmitted, "so that it is not put into quarantine")
			}()
			_, err := test.admit(t.Context(), w)
			require.ErrorContains(t, err, test.says)
			var final *Failed
			require.Equal(t, test.answer == refusal, errors.As(err, &final))
		})
	}
}

// A promotion keeps the trust that the estate declared when it was asked for.
func TestSnapshotKeepsTrust(t *testing.T) {
	declared := &estate.Estate{Environments: []estate.Environment{{Name: "e"}}, Tenants: []estate.Tenant{{Name: "a", Environment: "e"}},
		Trusts: []estate.Trust{{Environments: []string{"e"}, Require: []string{"provenance", "sbom"}}}}
	s, err := takeSnapshot(declared, Request{Environment: "e"})
	require.NoError(t, err)
	require.Equal(t, []string{"provenance", "sbom"}, s.Trust.Require)
	declared.Trusts = nil
	s, err = takeSnapshot(declared, Request{Environment: "e"})
	require.NoError(t, err)
	require.True(t, s.Trust.OwnKey)
}
