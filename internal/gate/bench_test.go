package gate

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
)

// BenchmarkEvaluate asks all of a careful estate's rules, two of which do not hold and are explained.
func BenchmarkEvaluate(b *testing.B) {
	var rules []estate.PolicyRule
	for _, use := range []string{"soak", "same-digest", "fresh-rehearsal", "verified-checkpoint", "no-critical-vulnerabilities", "signed", "within-window", "approved", "four-eyes-for-breaking"} {
		rules = append(rules, estate.PolicyRule{ID: use, Use: use})
	}
	set, err := Compile(policyOf(rules...))
	require.NoError(b, err)
	for name, f := range map[string]*Facts{
		"holds": known(nil),
		"waits": known(func(f *Facts) { f.Previous.Soaked, f.Approvals = time.Hour, nil }),
	} {
		b.Run(fmt.Sprintf("%s %d rules", name, len(rules)), func(b *testing.B) {
			for b.Loop() {
				set.Evaluate(f)
			}
		})
	}
}
