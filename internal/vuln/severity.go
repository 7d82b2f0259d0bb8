package vuln

import (
	"fmt"
	"strings"

	gocvss20 "github.com/pandatix/go-cvss/20"
	gocvss30 "github.com/pandatix/go-cvss/30"
	gocvss31 "github.com/pandatix/go-cvss/31"
	gocvss40 "github.com/pandatix/go-cvss/40"
)

// Severity is how bad a vulnerability is, by the qualitative scale of CVSS.
type Severity string

// The severities. Unrated is the one of vulnerabilities that nobody has rated yet.
const (
	Unrated  Severity = ""
	None     Severity = "none"
	Low      Severity = "low"
	Medium   Severity = "medium"
	High     Severity = "high"
	Critical Severity = "critical"
)

var rankOf = map[Severity]int{Unrated: 0, None: 1, Low: 2, Medium: 3, High: 4, Critical: 5}

// Rank orders severities; what is not rated comes before all others.
func (s Severity) Rank() int { return rankOf[s] }

func (s Severity) String() string {
	if s == Unrated {
		return "unrated"
	}
	return string(s)
}

// rating is a CVSS vector or a word of an advisory.
type rating struct {
	Type  string `json:"type"`
	Score string `json:"score"`
}

// rate finds how bad it is: the highest score of the CVSS vectors of version 3 and 4; without one,
// version 2; without any, the word of the database or of the distributor. A vector that cannot be
// read counts as none: the estate says what unrated ones mean.
func (r *record) rate(a advisory, one affected) {
	for _, old := range []bool{false, true} {
		for _, list := range [][]rating{one.Severity, a.Severity} {
			for _, given := range list {
				if score, ok := score(given.Score); ok && strings.HasPrefix(given.Score, "CVSS:") != old && (r.Vector == "" || score > r.Score) {
					r.Score, r.Vector, r.Severity = score, given.Score, levelOf(score)
				}
			}
		}
		if r.Vector != "" {
			break
		}
	}
	r.Harmless = one.Ecosystem.Urgency == "unimportant"
	if r.Vector != "" {
		return
	}
	words := []string{fmt.Sprint(one.Database.Severity), fmt.Sprint(a.Database.Severity), one.Ecosystem.Urgency, one.Ecosystem.Priority}
	for _, list := range [][]rating{one.Severity, a.Severity} {
		for _, given := range list {
			words = append(words, given.Score) // Ubuntu's: {"type": "Ubuntu", "score": "medium"}
		}
	}
	for _, word := range words {
		if s := levelNamed(word); s.Rank() > r.Severity.Rank() {
			r.Severity = s
		}
	}
}

// score reads a vector.
func score(vector string) (float64, bool) {
	switch {
	case strings.HasPrefix(vector, "CVSS:4.0/"):
		if v, err := gocvss40.ParseVector(vector); err == nil {
			return v.Score(), true
		}
	case strings.HasPrefix(vector, "CVSS:3.1/"):
		if v, err := gocvss31.ParseVector(vector); err == nil {
			return v.BaseScore(), true
		}
	case strings.HasPrefix(vector, "CVSS:3.0/"):
		if v, err := gocvss30.ParseVector(vector); err == nil {
			return v.BaseScore(), true
		}
	case strings.HasPrefix(vector, "AV:"):
		if v, err := gocvss20.ParseVector(vector); err == nil {
			return v.BaseScore(), true
		}
	}
	return 0, false
}

// levelOf is the scale of CVSS 3.1, section 5, which 4.0 keeps.
func levelOf(score float64) Severity {
	switch {
	case score >= 9:
		return Critical
	case score >= 7:
		return High
	case score >= 4:
		return Medium
	case score > 0:
		return Low
	}
	return None
}

// levelNamed knows the words of GitHub, Debian and Ubuntu. Debian's "unimportant" says that the
// package as Debian builds it is not affected.
func levelNamed(word string) Severity {
	switch strings.ToLower(strings.TrimRight(word, "*")) {
	case "critical":
		return Critical
	case "high", "important":
		return High
	case "medium", "moderate":
		return Medium
	case "low", "negligible":
		return Low
	case "none", "unimportant":
		return None
	}
	return Unrated
}
