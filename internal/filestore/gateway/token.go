// Package gateway stands between the pods of an environment and the bucket that its filestores are in (docs/decisions/0020-filestores-in-object-storage.md).
package gateway

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"strings"
)

// Token lets its bearer at what is below the prefix, "ENVIRONMENT/GROUP/", of a gateway with that key. The gateway keeps no list of tokens.
func Token(key []byte, prefix string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(prefix)) + "." + base64.RawURLEncoding.EncodeToString(mac(key, prefix))
}

// Admits is the prefix that a token is for, or says that it is none of this key.
func Admits(key []byte, token string) (prefix string, ok bool) {
	name, sum, _ := strings.Cut(token, ".")
	given, err := base64.RawURLEncoding.DecodeString(sum)
	if err != nil {
		return "", false
	}
	raw, err := base64.RawURLEncoding.DecodeString(name)
	if err != nil || !hmac.Equal(given, mac(key, string(raw))) {
		return "", false
	}
	return string(raw), true
}

func mac(key []byte, prefix string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte("filestores\n" + prefix))
	return h.Sum(nil)
}

// Segment is a database's name as one segment of a path, of a request or of a key in a bucket: no name leads out of it, and no two are the same.
func Segment(database string) string {
	s := url.PathEscape(database)
	if strings.Trim(s, ".") == "" {
		s = strings.ReplaceAll(s, ".", "%2E")
	}
	return s
}
