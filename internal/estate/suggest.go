package estate

import (
	"slices"
	"strings"
)

// suggest returns "did you mean …?" for the closest of the known words, or which words there are
// where none is close and there are few.
func suggest(word string, known []string) string {
	if best, ok := nearest(word, known); ok {
		return `did you mean "` + best + `"?`
	}
	if len(known) > 0 && len(known) <= 24 {
		return "known: " + strings.Join(known, ", ")
	}
	return ""
}

// Nearest returns the known word that was probably meant, if one is a slip of the finger away.
func Nearest(word string, known []string) (string, bool) { return nearest(word, known) }

// nearest returns the known word with the smallest edit distance, when that is small enough
// for a slip of the finger: one change for short words, up to three for long ones.
func nearest(word string, known []string) (string, bool) {
	if len(word) > 64 {
		return "", false
	}
	limit := min(1+len(word)/4, 3)
	best, bestDistance := "", limit+1
	for _, k := range known {
		if len(k) > 64 {
			continue
		}
		if d := distance(strings.ToLower(word), strings.ToLower(k)); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	return best, best != ""
}

// distance is the edit distance in which two neighbours that changed places count as one slip
// (optimal string alignment).
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, slices.Clone(row), before
	}
	return last[len(b)]
}
