package attest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

const (
	statementType = "https://in-toto.io/Statement/v1"
	payloadType   = "application/vnd.in-toto+json"
)

// statement is an in-toto Statement v1. The official type keeps predicates as protobuf structs, in
// which every number is a float and whose encoding differs from run to run; a test holds this one
// to the official one.
type statement struct {
	Type          string          `json:"_type"`
	Subject       []subject       `json:"subject"`
	PredicateType string          `json:"predicateType"`
	Predicate     json.RawMessage `json:"predicate"`
}

type subject struct {
	Name   string            `json:"name"`
	Digest map[string]string `json:"digest"`
}

// Claim is what shall be said of an image.
type Claim struct {
	Type      string // of the predicate; a URI
	Predicate any    // encoded as JSON
	// Passing are fields, with dots between names, that differ from run to run, such as the time. Two
	// claims that differ only there say the same, and the second is not attached.
	Passing []string
}

// encode is the payload for an image: the same bytes for the same claim.
func (c Claim) encode(name, digest string) ([]byte, error) {
	algorithm, hex, ok := strings.Cut(digest, ":")
	if c.Type == "" || !ok {
		return nil, fmt.Errorf("a claim of type %q about %q: it needs a type and a digest", c.Type, digest)
	}
	predicate, err := json.Marshal(c.Predicate)
	if err != nil {
		return nil, fmt.Errorf("encode the predicate: %w", err)
	}
	return json.Marshal(statement{Type: statementType, PredicateType: c.Type, Predicate: predicate,
		Subject: []subject{{Name: name, Digest: map[string]string{algorithm: hex}}}})
}

func parseStatement(payload []byte) (*statement, error) {
	var s statement
	if err := json.Unmarshal(payload, &s); err != nil {
		return nil, fmt.Errorf("the payload is no statement: %w", err)
	}
	switch {
	case s.Type != statementType:
		return nil, fmt.Errorf("the payload is a %q; expected %s", s.Type, statementType)
	case len(s.Subject) == 0:
		return nil, errors.New("the statement has no subject")
	case s.PredicateType == "":
		return nil, errors.New("the statement has no predicate type")
	}
	return &s, nil
}

// about says whether the image with the digest is among the subjects.
func (s *statement) about(digest string) bool {
	algorithm, hex, _ := strings.Cut(digest, ":")
	for _, each := range s.Subject {
		if hex != "" && each.Digest[algorithm] == hex {
			return true
		}
	}
	return false
}

// digests are the subjects, for a message.
func (s *statement) digests() string {
	var list []string
	for _, each := range s.Subject {
		for algorithm, hex := range each.Digest {
			list = append(list, algorithm+":"+hex)
		}
	}
	if len(list) > 3 {
		list = append(list[:3], "…")
	}
	return strings.Join(list, ", ")
}

// essence is a predicate without its passing fields, in one order of keys.
func essence(predicate []byte, passing []string) ([]byte, error) {
	decoder := json.NewDecoder(bytes.NewReader(predicate))
	decoder.UseNumber() // numbers stay as they were written
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}
	for _, path := range passing {
		at := value
		names := strings.Split(path, ".")
		for i, name := range names {
			object, ok := at.(map[string]any)
			if !ok {
				break
			}
			if i == len(names)-1 {
				delete(object, name)
			}
			at = object[name]
		}
	}
	return json.Marshal(value)
}
