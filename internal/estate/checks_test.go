package estate

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestChecksThatDoNotExist(t *testing.T) {
	e, err := Parse(map[string][]byte{
		"product.yaml": []byte("kind: Product\nname: acme\nseries: \"19.0\"\nenvironments: [test]\n---\n" +
			"kind: Environment\nname: test\nruntime: {docker: {http: \"127.0.0.1:8079\"}}\n"),
		"checks.yaml": []byte("kind: Checks\nlevels:\n  script-comits: off\n  script-commits: note\nexceptions:\n" +
			"  - {check: python-sintax, module: a, reason: r, expires: 2027-03-31}\n  - {check: zzz, module: a, reason: r, expires: 2027-03-31}\n"),
	})
	require.NoError(t, err)
	err = e.Checks.Unknown([]string{"python-syntax", "script-commits"})
	require.EqualError(t, err, `checks.yaml:3:18: levels.script-comits: there is no check "script-comits" (did you mean "script-commits"?)
checks.yaml:6:13: exceptions[0].check: there is no check "python-sintax" (did you mean "python-syntax"?)
checks.yaml:7:13: exceptions[1].check: there is no check "zzz" (known: python-syntax, script-commits)`)
	require.Len(t, Problems(err), 3)
	require.Equal(t, "checks.yaml:6", e.Checks.Place(0))
	require.Equal(t, time.Date(2027, 4, 1, 0, 0, 0, 0, time.UTC), e.Checks.Exceptions[0].Until(), "the last day counts")
}
