package promotion

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/vuln"
)

// A verdict and a bad database end the way forward; what could not be found out is tried again.
func TestAdmitVulnerabilities(t *testing.T) {
	refused := vuln.Verdict{Refused: true, Reasons: []vuln.Reason{{Level: vuln.Refuse, Text: "CVE-2026-1 in glibc", Fix: "build again"}, {Level: vuln.Warn, Text: "no matter"}}}
	unreachable := errors.New("registry is away")
	for name, c := range map[string]struct {
		answer error
		want   string
		final  bool
	}{
		"admitted":     {nil, "", false},
		"refused":      {refused.Err(), "release r1 is kept out of production: CVE-2026-1 in glibc (build again). All of it: waybill release scan r1", true},
		"bad database": {fmt.Errorf("%w all.zip: cut off", vuln.ErrDatabase), "release r1 cannot be compared with known vulnerabilities: vulnerability database all.zip: cut off", true},
		"not known":    {unreachable, "compare release r1 with known vulnerabilities: registry is away", false},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			w := &Work{Engine: &Engine{rooms: Rooms{Vulnerable: func(context.Context, release.Release, Snapshot) error { asked++; return c.answer }}}}
			w.rollout = store.Rollout{Environment: "production"}
			require.NoError(t, w.admitVulnerabilities(t.Context(), release.Release{Name: "r1"}), "an estate without rules asks nobody")
			require.Zero(t, asked)
			w.env.Vulnerabilities = &estate.Vulnerabilities{}
			err := w.admitVulnerabilities(t.Context(), release.Release{Name: "r1"})
			require.Equal(t, 1, asked)
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, c.want)
			var final *Failed
			require.Equal(t, c.final, errors.As(err, &final))
		})
	}
}

func TestSnapshotHoldsTheRules(t *testing.T) {
	rules := &estate.Vulnerabilities{Refuse: "low"}
	s, err := takeSnapshot(&estate.Estate{Vulnerabilities: rules, Environments: []estate.Environment{{Name: "test"}}, Tenants: []estate.Tenant{{Name: "a", Environment: "test"}}}, Request{Environment: "test"})
	require.NoError(t, err)
	require.Equal(t, rules, s.Vulnerabilities)
}
