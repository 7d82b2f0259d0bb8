package report

import (
	"fmt"
	"math"
)

// Shown is a value of a unit as people read it; "–" where there is none.
func Shown(x *float64, u Unit) string {
	if x == nil {
		return "–"
	}
	switch u {
	case Share:
		return fmt.Sprintf("%.0f %%", *x*100)
	case Seconds:
		return spoken(*x)
	case Count:
		return fmt.Sprintf("%.0f", *x)
	}
	return fmt.Sprintf("%.2f", *x)
}

// spoken are seconds in the two largest units that say something.
func spoken(seconds float64) string {
	s := int64(math.Round(seconds))
	switch {
	case seconds < 10:
		return fmt.Sprintf("%.1f s", seconds)
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return fmt.Sprintf("%d min %d s", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%d h %d min", s/3600, s%3600/60)
	}
	return fmt.Sprintf("%d d %d h", s/86400, s%86400/3600)
}
