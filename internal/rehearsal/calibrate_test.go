package rehearsal

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/store"
)

// waits makes pairs of what was predicted and what came.
func waits(seconds ...float64) []store.Wait {
	var all []store.Wait
	for i := 0; i < len(seconds); i += 2 {
		all = append(all, store.Wait{Predicted: seconds[i], Held: seconds[i+1]})
	}
	return all
}

func TestCalibrate(t *testing.T) {
	for _, c := range []struct {
		name  string
		waits []store.Wait
		want  Calibration
	}{
		{"none", nil, Calibration{Ratio: 1}},
		{"one", waits(10, 15), Calibration{Ratio: 1.5, Promotions: 1}},
		{"two: in between", waits(10, 15, 10, 5), Calibration{Ratio: 1, Promotions: 2}},
		{"one bad moment bends nothing", waits(10, 11, 10, 600, 10, 12), Calibration{Ratio: 1.2, Promotions: 3}},
		{"far off is bounded", waits(10, 600), Calibration{Ratio: 4, Promotions: 1}},
		{"far off below too", waits(600, 10), Calibration{Ratio: 0.25, Promotions: 1}},
		{"only the newest five", waits(1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3), Calibration{Ratio: 2, Promotions: 5}},
		{"nothing to compare", waits(0, 3, 3, 0), Calibration{Ratio: 1, Promotions: 0}},
	} {
		assert.Equal(t, c.want, calibrate(c.waits), c.name)
	}
}

// TestCalibrationMovesThePrediction: a hold that fits by computation freezes where the last ones took twice as long.
func TestCalibrationMovesThePrediction(t *testing.T) {
	r := &Report{Outcome: Proven, Class: estate.Compatible, Transactional: true, Update: &Update{JobSeconds: 9}, WayBack: &WayBack{Works: true}, Effect: &Effect{},
		Plan: Plan{Update: []string{"acme"}}, Calibration: Calibration{Ratio: 2, Promotions: 3}}
	classify(r, 15*time.Second, 0)
	assert.Equal(t, 10.0, r.ComputedSeconds)
	assert.Equal(t, 20.0, r.PredictedSeconds)
	assert.Equal(t, PauseFreeze, r.Pause)
	r.Calibration = Calibration{Ratio: 1}
	classify(r, 15*time.Second, 0)
	assert.Equal(t, 10.0, r.PredictedSeconds)
	assert.Equal(t, PauseHold, r.Pause)
}
