package checkpoint

import (
	"fmt"
	"time"
)

// At chooses, of the checkpoints of one tenant, newest first, the newest one at or before a time.
func At(list []Info, at, now time.Time) (Info, error) {
	if at.After(now) {
		return Info{}, fmt.Errorf("%s is in the future: it is %s now", at.Format(time.RFC3339), now.Format(time.RFC3339))
	}
	if len(list) == 0 {
		return Info{}, fmt.Errorf("there is no checkpoint at all")
	}
	for _, c := range list {
		if !c.RecoveryPoint.After(at) {
			return c, nil
		}
	}
	oldest := list[len(list)-1]
	return Info{}, fmt.Errorf("no checkpoint is from before %s; the oldest, %s, is of %s", at.Format(time.RFC3339), oldest.ID, oldest.RecoveryPoint.UTC().Format(time.RFC3339))
}
