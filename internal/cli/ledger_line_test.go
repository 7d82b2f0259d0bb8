package cli

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPayloadLine(t *testing.T) {
	for payload, line := range map[string]string{
		`{"step": "update", "outcome": "failed", "detail": "no", "other": 1}`: "update: failed: no",
		`{"secret": "bridge"}`: "bridge",
		`{"secrets": ["login wb_x", "bridge"], "to": "pool r-1"}`:            "login wb_x, bridge: pool r-1",
		`{"secret": "env:X", "for": "the estate's webhook", "found": false}`: "env:X: the estate's webhook",
		`{}`: "",
	} {
		var p any
		require.NoError(t, json.Unmarshal([]byte(payload), &p))
		require.Equal(t, line, payloadLine(p))
	}
}
