package waybill

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// course is of a release whose deliveries take longer and longer; in the second slice nothing was seen of it.
func course() *Chart {
	return &Chart{Since: time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC), Slice: 5, Unit: "seconds",
		New: []*float64{new(0.5), nil, new(0.7), new(0.8)}, Old: []*float64{new(0.4), new(0.4), new(0.4), new(0.41)}}
}

func TestChart(t *testing.T) {
	svg := string(draw(course()))
	decoder := xml.NewDecoder(strings.NewReader(svg))
	for {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else {
			require.NoError(t, err)
		}
	}
	for _, part := range []string{">0.8 s<", ">0 s<", "08:00:00 UTC", "20s later", "new release", "old release"} {
		require.Contains(t, svg, part)
	}
	require.Equal(t, 2, strings.Count(svg[strings.Index(svg, `class="new" d=`):], "M"), "a gap is a gap")
	require.Empty(t, draw(&Chart{Unit: "share", New: []*float64{new(0.0)}, Old: []*float64{nil}}), "nothing to be drawn")

	require.Equal(t, []string{
		"picking_validate.seconds, new release  ▆ ▇█",
		"picking_validate.seconds, old release  ▅▅▅▅  a block is 5s, the highest 0.8 s",
	}, sparks("picking_validate.seconds", *course()))
}

// The chart of a verdict comes with the signal that it is of.
func TestChartOfAVerdict(t *testing.T) {
	s := setup(t)
	s.promotion("chart", "compatible")
	s.exec(`insert into verdicts (rollout_id, stage, outcome, says, evidence) values ('chart-r', 'shift 5', 'FAIL', 'slower', '{"weight":5,"signals":[
		{"signal":"picking_validate.seconds","outcome":"FAIL","says":"slower","chart":{"since":"2026-03-02T08:00:00Z","slice":5,"unit":"seconds","canary":[0.8,null],"stable":[0.4,0.4]}}]}')`)
	d, bundle := s.cut("chart")
	require.Equal(t, &Chart{Since: time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC), Slice: 5, Unit: "seconds", New: []*float64{new(0.8), nil}, Old: []*float64{new(0.4), new(0.4)}},
		d.Rollouts[0].Traffic[0].Signals[0].Chart)
	var page, text bytes.Buffer
	require.NoError(t, WritePage(&page, d, bundle))
	require.Contains(t, page.String(), `<svg class="course"`)
	WriteText(&text, d)
	require.Contains(t, text.String(), "picking_validate.seconds, new release  █")
}
