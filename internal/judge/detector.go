package judge

import "math"

// Detector watches one pool after the release, with nothing beside it to compare with: it raises an alarm
// when more of the units are bad than the release before had (same hours of the weeks before), from
// whatever moment on. It is a Shiryaev–Roberts e-detector (Shin, Ramdas, Rinaldo, arXiv 2203.03532): with
// nothing wrong, alarms are at least 1/Alpha readings apart on average. The zero value with
// Share and Alpha set is ready; it can be kept as JSON.
type Detector struct {
	Share float64 `json:"share"` // of the units that were bad before, at most; between 0 and 1
	Alpha float64 `json:"alpha"` // between 0 and 1

	Logs     [half + 1]float64 `json:"logs"` // ln of each odds ratio's sum of e-values, over all beginnings
	Readings int64             `json:"readings"`
}

// Add takes what came since the last reading, and reports whether it is time for an alarm. What is
// not sound counts as nothing, an empty reading not at all.
//
// Given the readings before, the units are bad independently with a share of at most Share; for the odds
// ratio r each reading multiplies by r^bad / (1 − Share + r·Share)^units, of which the mean is at most 1.
func (d *Detector) Add(units Counts) (alarm bool) {
	if !units.sound() || units.Requests == 0 || !(d.Share > 0 && d.Share < 1) {
		return false
	}
	d.Readings++
	for k := 1; k <= half; k++ {
		logR := logStep * float64(k)
		value := float64(units.Failed)*logR - float64(units.Requests)*math.Log1p(d.Share*math.Expm1(logR))
		if d.Readings > 1 {
			value += math.Log1p(math.Exp(min(d.Logs[k], 700))) // (R + 1)·L
			if d.Logs[k] > 700 {
				value += d.Logs[k] - 700
			}
		}
		d.Logs[k] = value
	}
	return d.Evidence() >= 1/d.Alpha
}

// Evidence is the e-detector's value.
func (d *Detector) Evidence() float64 {
	if d.Readings == 0 {
		return 0
	}
	sum := 0.0
	for k := 1; k <= half; k++ {
		sum += prior[k] * math.Exp(d.Logs[k])
	}
	return sum
}
