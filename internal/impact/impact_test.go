package impact

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/odoo"
	"github.com/waybill-dev/waybill/internal/ring"
)

var (
	at    = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	rings = []ring.Ring{{Name: "canary", AtOnce: 1, Soak: time.Hour}, {Name: "shops", After: []string{"canary"}, AtOnce: 2}, {Name: "rest", After: []string{"shops"}, AtOnce: 1}}
)

func takes(name, ring string, seconds float64) Tenant {
	return Tenant{Name: name, Ring: ring, Class: estate.Compatible, Source: Rehearsed, RehearsedOn: name, Pause: Known(seconds/10, "rehearsal x"), Recovery: Known(seconds, "rehearsal x"),
		Rollout: Known(seconds, "measured"), Window: Window{Open: true}}
}

// The rings are played as a promotion goes through them: one after the other, so many at once, with their soak between them.
func TestThroughTheRings(t *testing.T) {
	a := New(Assessment{Tenants: []Tenant{takes("d", "rest", 50), takes("c", "shops", 30), takes("a", "canary", 100), takes("b", "shops", 20), takes("e", "shops", 25)}}, rings)
	require.Equal(t, Through{Seconds: 100 + 3600 + 45 + 50, Rings: []RingTime{
		{Name: "canary", Tenants: 1, Begins: 0, Ends: 100, AtOnce: 1, Soak: 3600},
		{Name: "shops", Tenants: 3, Begins: 3700, Ends: 3745, AtOnce: 2}, // b and c side by side, e after b
		{Name: "rest", Tenants: 1, Begins: 3745, Ends: 3795, AtOnce: 1},
	}}, a.Summary.Through)
	var order string
	for _, x := range a.Tenants {
		order += x.Name
	}
	require.Equal(t, "abced", order)

	backwards := []ring.Ring{rings[2], rings[1], rings[0]}
	require.InDelta(t, 3795, New(Assessment{Tenants: a.Tenants}, backwards).Summary.Through.Seconds, 0.01, "whatever their order in the list")
	require.InDelta(t, 3650, New(Assessment{Tenants: []Tenant{takes("d", "rest", 50), takes("a", "canary", 0)}}, rings).Summary.Through.Seconds, 0.01, "an empty ring holds nobody back")
	require.InDelta(t, 100, New(Assessment{Tenants: a.Tenants}, nil).Summary.Through.Seconds, 0.01, "without rings all go at once")
	require.Empty(t, New(Assessment{}, rings).Summary.Through.Rings)
	circle := []ring.Ring{{Name: "canary", After: []string{"rest"}}, {Name: "rest", After: []string{"canary"}}}
	require.Empty(t, New(Assessment{Tenants: a.Tenants}, circle).Summary.Through.Rings, "a circle, which no estate has, has an end here too")
}

func TestWhatIsNotKnownIsSaid(t *testing.T) {
	guess := takes("b", "shops", 60)
	guess.Rollout.AtLeast = true
	guess.Pause, guess.Recovery, guess.Source, guess.Class = NotKnown("not rehearsed"), NotKnown("no restore of it has been measured"), Assumed, estate.Breaking
	gone := Tenant{Name: "c", Ring: "rest", Unknown: "database c does not exist", Pause: NotKnown("not known: database c does not exist"), Rollout: NotKnown("not known"),
		Window: Window{Open: true}, Conflicts: []Conflict{{Kind: Unreachable, Stops: true, Says: "database c does not exist"}}}
	a := New(Assessment{ReleaseName: "r3", Tenants: []Tenant{takes("a", "canary", 100), guess, gone}}, rings)
	s := a.Summary
	require.Equal(t, map[estate.Class]int{estate.Compatible: 1, estate.Breaking: 1}, s.Classes, "one that could not be looked at has no class")
	require.Equal(t, 1, s.Assumed)
	require.Equal(t, &Longest{"a", 10, "rehearsal x"}, s.Pause)
	require.Equal(t, []string{"b", "c"}, s.NoPause)
	require.True(t, s.Through.AtLeast)
	require.Equal(t, []bool{false, true, true}, []bool{s.Through.Rings[0].AtLeast, s.Through.Rings[1].AtLeast, s.Through.Rings[2].AtLeast})
	require.Equal(t, []string{"c"}, s.Unknown)
	require.Equal(t, []string{"c"}, s.Stopped)
	require.False(t, a.Whole())
	require.Contains(t, a.Sentences(), "Could not be looked at: c.")
	require.NotContains(t, a.Sentences(), "Nothing stands against it.")
}

func TestText(t *testing.T) {
	acme, bolt, cord := takes("acme", "canary", 100), takes("bolt", "shops", 20), takes("cord", "rest", 30)
	size, files, next := int64(58<<20), int64(3<<30), at.Add(3*24*time.Hour)
	acme.Serving, acme.DatabaseBytes, acme.FileBytes = "r2", &size, &files
	bolt.RehearsedOn, bolt.Serving, bolt.Window = "acme", "r2", Window{Next: &next}
	bolt.Conflicts = []Conflict{{Kind: Tills, Says: "2 sessions of the point of sale are open"}}
	bolt.Approvals = []string{"2 approvals of approver or admin"}
	cord.Unknown, cord.Class, cord.Pause, cord.Conflicts = "connection refused", "", NotKnown("not known: connection refused"), []Conflict{{Kind: Unreachable, Stops: true, Says: "connection refused"}}
	between := []Between{{ReleaseName: "r2", Tenants: 3, Difference: odoo.Difference{Changed: []odoo.ModuleChange{{Name: "acme_label"}, {Name: "stock", Base: true}}, Added: []odoo.ModuleChange{{Name: "acme_dock"}}}}}
	a := New(Assessment{Release: "sha256:0123456789abcdef", ReleaseName: "r3", Environment: "production", EstateCommit: "fedcba9876543210", At: at, Between: between, Tenants: []Tenant{acme, bolt, cord}}, rings)
	var out bytes.Buffer
	WriteText(&out, a)
	require.Equal(t, `r3 (sha256:0123456789ab) into production, estate fedcba987654, as of 2026-11-22 10:00:00 UTC

For the 3 tenants in 3 rings, r3 is compatible at 2.
People wait longest at acme: 10 s (rehearsal x).
The longest restore is that of acme: 100 s (rehearsal x).
Not known is how long people wait at cord.
Through the rings it takes about 62 min, soaking included; what windows and approvals add is not.
It needs 2 approvals of approver or admin.
The window is closed now for bolt.
Could not be looked at: cord.
It would not be let in at cord.
To be weighed: tills (bolt).

RING    TENANTS  AT ONCE  BEGINS AFTER  TAKES  SOAKS
canary  1        1        0 s           100 s  60 min
shops   1        2        62 min        20 s   0 s
rest    1        1        62 min        30 s   0 s

TENANT  RING    HAS  CLASS                          PEOPLE WAIT                  RESTORE  MAY GO                DATABASE  FILES    AGAINST
acme    canary  r2   compatible, rehearsed          10 s                         100 s    now                   58 MiB    3.0 GiB  nothing
bolt    shops   r2   compatible, rehearsed on acme  2.0 s                        20 s     Wed 25 Nov 10:00 UTC  -         -        tills
cord    rest    -    -                              unknown: connection refused  30 s     now                   -         -        unreachable

What changes
  from r2 (3 tenants): changed acme_label; added acme_dock; 1 module of the base image

What stands against it
  cord  stops it       connection refused
  bolt  to be weighed  2 sessions of the point of sale are open
`, out.String())

	clean := New(Assessment{ReleaseName: "r3", Tenants: []Tenant{takes("acme", "", 100)}}, nil)
	require.Equal(t, []string{"For the tenant, r3 is compatible at 1.", "People wait longest at acme: 10 s (rehearsal x).", "The longest restore is that of acme: 100 s (rehearsal x).",
		"It takes about 100 s, soaking included; what windows and approvals add is not.", "Nothing stands against it."}, clean.Sentences())
}
