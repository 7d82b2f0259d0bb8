package gateway

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestToken(t *testing.T) {
	key := []byte("0123456789abcdef0123456789abcdef")
	token := Token(key, "production/shared/")
	prefix, ok := Admits(key, token)
	require.True(t, ok)
	require.Equal(t, "production/shared/", prefix)
	other := Token(key, "production/wholesale/")
	for _, bad := range []string{"", ".", token + "A", token[1:], token[:len(token)-2], other[:len(other)-43] + token[len(token)-43:], Token([]byte("another"), "production/shared/")} {
		_, ok := Admits(key, bad)
		require.False(t, ok, bad)
	}
}

func TestSegment(t *testing.T) {
	for name, want := range map[string]string{"acme": "acme", "a/b": "a%2Fb", "..": "%2E%2E", ".": "%2E", "%2E": "%252E", "Ünï": "%C3%9Cn%C3%AF", "a b?": "a%20b%3F"} {
		require.Equal(t, want, Segment(name))
	}
}
