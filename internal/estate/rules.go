package estate

import (
	"regexp"
	"time"
)

// The rules that both the checks and the published schemas follow.

const (
	maxName     = 40  // names become part of container, role and folder names
	maxDatabase = 50  // PostgreSQL takes 63; scratch databases get a suffix
	maxHost     = 253 // RFC 1035
	maxText     = 1000
	maxSetting  = 4096
	maxList     = 1000
	maxSteps    = 20
	maxLabels   = 50
)

var (
	nameRule       = regexp.MustCompile(`^[a-z]([a-z0-9-]*[a-z0-9])?$`)
	seriesRule     = regexp.MustCompile(`^(saas~)?[0-9]{1,2}\.[0-9]$`)
	databaseRule   = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)
	moduleRule     = regexp.MustCompile(`^[a-zA-Z0-9_]{1,128}$`)
	languageRule   = regexp.MustCompile(`^[a-z]{2,3}(_[A-Z][A-Za-z]{1,3}|_[0-9]{3})?(@[a-z]+)?$`)
	labelRule      = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	labelValueRule = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9._-]{0,61}[a-zA-Z0-9])?$`)
	settingRule    = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)
	durationRule   = regexp.MustCompile(`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`)
	percentRule    = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?%$`)
)

// span is what a figure may be, both ends included.
type span[T any] struct{ least, most T }

var (
	workersSpan  = span[int]{0, 256}
	stepSpan     = span[int]{1, 99}
	requestsSpan = span[int]{0, 1_000_000}
	errorSpan    = span[float64]{0, 1}
	peopleSpan   = span[int]{0, 10}

	durationSpans = map[string]span[time.Duration]{
		"hold_budget":           {time.Second, 10 * time.Minute},
		"update_deadline":       {10 * time.Second, 24 * time.Hour},
		"drain_limit":           {0, 10 * time.Minute},
		"rollout.step_deadline": {time.Second, 24 * time.Hour},
		"rollout.bake":          {0, 7 * 24 * time.Hour},
		"approvals.expires":     {time.Minute, 30 * 24 * time.Hour},
		"emergency.confirm":     {time.Minute, 24 * time.Hour},
	}
)

var (
	hostings = []string{string(Shared), string(Dedicated)}
	classes  = []string{string(Swap), string(Compatible), string(Breaking)}

	rehearsals = []string{string(RehearsalOff), string(RehearsalAuto), string(RehearsalRequired)}
)
