package rehearsal

import (
	"slices"

	"github.com/waybill-dev/waybill/internal/store"
)

// Calibration is how long people waited in a tenant's promotions, against what rehearsals had computed.
type Calibration struct {
	Ratio      float64 `json:"ratio"`      // 1 where there was none
	Promotions int     `json:"promotions"` // that it comes from
}

// calibrations is how many promotions count: what is older was another machine, or another load.
const calibrations = 5

// farOff bounds the ratio. What is further off was something else than the update's pace: an engine that was
// restarted, a machine that slept.
const farOff = 4

// calibrate takes the median of the newest promotions: one that met a bad moment bends nothing.
func calibrate(waits []store.Wait) Calibration {
	var ratios []float64
	for _, w := range waits {
		if w.Predicted > 0 && w.Held > 0 && len(ratios) < calibrations {
			ratios = append(ratios, min(max(w.Held/w.Predicted, 1.0/farOff), farOff))
		}
	}
	n := len(ratios)
	if n == 0 {
		return Calibration{Ratio: 1}
	}
	slices.Sort(ratios)
	return Calibration{Ratio: (ratios[(n-1)/2] + ratios[n/2]) / 2, Promotions: n}
}
