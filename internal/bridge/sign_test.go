package bridge

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// vector is one signature that both sides must compute alike; bridge/tests reads the same file.
type vector struct {
	Key     string `json:"key"`
	Seconds int64  `json:"seconds"`
	Nonce   string `json:"nonce"`
	Method  string `json:"method"`
	Path    string `json:"path"`
	Body    string `json:"body"`
	Header  string `json:"header"`
}

func TestSignVectors(t *testing.T) {
	raw, err := os.ReadFile("testdata/signature.json")
	require.NoError(t, err)
	var vectors []vector
	require.NoError(t, json.Unmarshal(raw, &vectors))
	require.NotEmpty(t, vectors)
	for _, v := range vectors {
		assert.Equal(t, v.Header, Sign([]byte(v.Key), time.Unix(v.Seconds, 0), v.Nonce, v.Method, v.Path, []byte(v.Body)))
	}
}

func TestNewKeyIsLongEnoughAndNew(t *testing.T) {
	assert.GreaterOrEqual(t, len(NewKey()), MinKey)
	assert.NotEqual(t, NewKey(), NewKey())
}
