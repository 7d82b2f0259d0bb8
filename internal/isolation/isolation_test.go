package isolation

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/waybill-dev/waybill/internal/bridge"
)

func TestJudge(t *testing.T) {
	control := Attempt{Door: bridge.DoorConnect, Control: true, Outcome: bridge.Reached}
	refused := Attempt{Door: bridge.DoorConnect, Outcome: bridge.Refused}
	reached := Attempt{Door: bridge.DoorFilestore, Outcome: bridge.Reached}
	unknown := Attempt{Door: bridge.DoorTCP, Outcome: bridge.Unknown}
	brokenControl := Attempt{Door: bridge.DoorConnect, Control: true, Outcome: bridge.Refused}
	for _, test := range []struct {
		name     string
		pools    []string
		attempts []Attempt
		want     Verdict
		findings int
	}{
		{"all is refused", []string{"p"}, []Attempt{control, refused}, Pass, 0},
		{"one is reached", []string{"p"}, []Attempt{control, refused, reached}, Fail, 1},
		{"one is reached, whatever else is not known", []string{"p"}, []Attempt{brokenControl, unknown, reached}, Fail, 3},
		{"a control that fails", []string{"p"}, []Attempt{control, brokenControl, refused}, Inconclusive, 1},
		{"an attempt that went wrong", []string{"p"}, []Attempt{control, refused, unknown}, Inconclusive, 1},
		{"no control", []string{"p"}, []Attempt{refused}, Inconclusive, 0},
		{"nothing but controls", []string{"p"}, []Attempt{control}, Inconclusive, 0},
		{"no pool", nil, nil, Inconclusive, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := Judge(test.pools, test.attempts, 0)
			assert.Equal(t, test.want, r.Verdict, r.Says)
			assert.Len(t, r.Findings, test.findings)
			if test.want == Fail {
				assert.True(t, r.Findings[0].Breach(), "what was reached comes first")
			}
		})
	}
}

func TestDoorsAreDescribed(t *testing.T) {
	all := map[string]bool{}
	for _, d := range Doors {
		assert.False(t, all[d.Name], d.Name)
		all[d.Name] = true
	}
	w := world()
	for _, p := range w.Pools {
		for _, one := range w.plan(p, 0).planned {
			assert.True(t, all[one.Door], "door %s would not be shown", one.Door)
		}
	}
}
