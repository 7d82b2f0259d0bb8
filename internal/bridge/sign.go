package bridge

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// MinKey is the least length of a bridge key in bytes; both sides refuse a shorter one.
const MinKey = 16

// Sign returns the value of SignatureHeader for one request. path includes the query as it is
// sent. Blanks around the key do not count, so that a key file may end with a newline.
func Sign(key []byte, at time.Time, nonce, method, path string, body []byte) string {
	sum := sha256.Sum256(body)
	seconds := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, bytes.Trim(key, " \t\r\n"))
	mac.Write([]byte(strings.Join([]string{
		"waybill-bridge-v1", seconds, nonce, method, path, hex.EncodeToString(sum[:]),
	}, "\n")))
	return "v1:" + seconds + ":" + nonce + ":" + hex.EncodeToString(mac.Sum(nil))
}

// NewKey returns a fresh key as text, fit for the file KeyFile.
func NewKey() []byte { return []byte(random(32)) }

func random(n int) string {
	raw := make([]byte, n)
	_, _ = rand.Read(raw) // never fails; the runtime ends the process instead
	return base64.RawURLEncoding.EncodeToString(raw)
}
