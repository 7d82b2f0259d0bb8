package gate

import (
	"fmt"
	"strings"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// duration says a length as people do: 2 h 10 min, 3 days, 45 s.
func duration(d time.Duration) string {
	if d < 0 {
		return "−" + duration(-d)
	}
	days, hours, minutes, seconds := d/(24*time.Hour), d%(24*time.Hour)/time.Hour, d%time.Hour/time.Minute, d%time.Minute/time.Second
	pair := func(a time.Duration, unit string, b time.Duration, small string) string {
		if b == 0 {
			return fmt.Sprintf("%d %s", a, unit)
		}
		return fmt.Sprintf("%d %s %d %s", a, unit, b, small)
	}
	switch {
	case d >= 72*time.Hour:
		return pair(days, "days", hours, "h")
	case d >= time.Hour:
		return pair(days*24+hours, "h", minutes, "min")
	case d >= time.Minute:
		return pair(minutes, "min", seconds, "s")
	case d >= time.Second || d == 0:
		return fmt.Sprintf("%d s", seconds)
	}
	return d.String()
}

// instant says a time. All of them are in UTC, which is said: who reads it may be anywhere.
func instant(t time.Time) string {
	if t.IsZero() {
		return "an unknown time"
	}
	t = t.UTC()
	if t.Second() != 0 {
		t = t.Truncate(time.Minute).Add(time.Minute) // never name a time at which it does not yet hold
	}
	return t.Format("2006-01-02 15:04") + " UTC"
}

// say is a value in words.
func say(v any) string {
	switch v := v.(type) {
	case nil:
		return "nothing"
	case ref.Val:
		switch v := v.(type) {
		case types.Duration:
			return duration(v.Duration)
		case types.Timestamp:
			return instant(v.Time)
		case types.String:
			return say(string(v))
		case types.Bool:
			return say(bool(v))
		}
		if list, ok := v.Value().([]ref.Val); ok {
			var words []string
			for _, element := range list {
				words = append(words, say(element))
			}
			return oneOf(words)
		}
		return fmt.Sprint(v.Value())
	case time.Duration:
		return duration(v)
	case time.Time:
		return instant(v)
	case bool:
		if v {
			return "yes"
		}
		return "no"
	case string:
		if v == "" {
			return "empty"
		}
		if digest, ok := strings.CutPrefix(v, "sha256:"); ok && len(digest) > 12 {
			return "sha256:" + digest[:12]
		}
		return v
	case []string:
		if len(v) == 0 {
			return "none"
		}
		return strings.Join(v, ", ")
	}
	return fmt.Sprint(v)
}

func oneOf(words []string) string {
	switch len(words) {
	case 0:
		return "none"
	case 1:
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

func article(noun string) string {
	if strings.ContainsRune("aeiou", rune(noun[0])) {
		return "an " + noun
	}
	return "a " + noun
}
