package attest

import "fmt"

// Code names why a statement does not count or a release is not trusted.
type Code string

// The reasons.
const (
	NoAttestation  Code = "no-attestation"
	OtherDigest    Code = "other-digest"
	UnknownKey     Code = "unknown-key"
	KeyExpired     Code = "key-expired"
	KeyNotYet      Code = "key-not-yet-valid"
	UnknownBuilder Code = "unknown-builder"
	UnknownSource  Code = "source-not-allowed"
	Altered        Code = "altered"
	Unreadable     Code = "unreadable"
	Dirty          Code = "dirty"
	ChecksFailed   Code = "checks-failed"
)

const (
	buildAgain  = "run the same build again: it pushes what is missing and signs anew"
	mendStorage = "the registry's storage was damaged or tampered with: put the original file back from a backup, or remove it there and run the same build again"
	signAgain   = "run the same build again where the right key is"
)

// Refused says that a release, or one statement about it, is not trusted, and what can be done.
// It is final: trying again does not help.
type Refused struct {
	Code   Code   `json:"code"`
	Reason string `json:"reason"`
	WayOut string `json:"way_out"`
}

func (r *Refused) Error() string { return r.Reason + " — " + r.WayOut }

func refuse(code Code, wayOut, format string, args ...any) *Refused {
	return &Refused{Code: code, Reason: fmt.Sprintf(format, args...), WayOut: wayOut}
}
