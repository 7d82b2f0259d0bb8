package judge

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"time"
)

// What a Judge knows can be kept as JSON and taken up again, so that a shift that outlives a server
// is judged on all of its evidence. Its size depends on the signals, not on the observations. JSON has no
// infinity: the largest float64 stands for it, which no likelihood of ours tells apart from it.

// kept is a Judge.
type kept struct {
	Failed  string                `json:"failed,omitempty"`
	Unknown int                   `json:"unknown,omitempty"`
	Signals map[string]keptSignal `json:"signals"`
}

type keptSignal struct {
	Rule     string          `json:"rule"` // see Signal.fingerprint
	Last     [2]time.Time    `json:"last"`
	Seen     [2]bool         `json:"seen"`
	Rejected int             `json:"rejected,omitempty"`
	Problem  string          `json:"problem,omitempty"`
	Test     json.RawMessage `json:"test"`
}

// fingerprint is what must be the same for evidence of before to be evidence now. α, role and minimum
// may change: they are asked for at each verdict anew.
func (s Signal) fingerprint() string {
	return fmt.Sprintf("%s %t %g %g %g %s %g", s.Kind, s.Fewer, s.Tolerance, s.Ratio, s.Cap, s.Interval, s.Bounds)
}

// MarshalJSON keeps all that the Judge knows, but not its configuration.
func (j *Judge) MarshalJSON() ([]byte, error) {
	k := kept{Failed: j.failed, Unknown: j.unknown, Signals: map[string]keptSignal{}}
	for _, w := range j.signals {
		state, err := json.Marshal(w.keep())
		if err != nil {
			return nil, fmt.Errorf("judge: keep signal %q: %w", w.Name, err)
		}
		k.Signals[w.Name] = keptSignal{Rule: w.fingerprint(), Last: w.last, Seen: w.seen, Rejected: w.rejected, Problem: w.problem, Test: state}
	}
	return json.Marshal(k)
}

// Restore takes up what MarshalJSON kept. A signal that was not kept, or that is declared otherwise
// now, begins anew, and is named. On an error the Judge is of no use any more.
func (j *Judge) Restore(data []byte) (anew []string, err error) {
	var k kept
	if err := json.Unmarshal(data, &k); err != nil {
		return nil, fmt.Errorf("judge: what was kept does not parse: %w", err)
	}
	j.unknown = k.Unknown
	if w := j.byName[k.Failed]; w != nil && w.Role == Trigger {
		j.failed = k.Failed
	}
	for _, w := range j.signals {
		s, ok := k.Signals[w.Name]
		if !ok || s.Rule != w.fingerprint() {
			anew = append(anew, w.Name)
			continue
		}
		if err := w.takeUp(s.Test); err != nil {
			return nil, fmt.Errorf("judge: what was kept of signal %q: %w", w.Name, err)
		}
		w.last, w.seen, w.rejected, w.problem = s.Last, s.Seen, s.Rejected, s.Problem
	}
	return anew, nil
}

// finite makes a number fit for JSON. What is no number counts as nothing: no evidence.
func finite(x float64) float64 {
	if math.IsNaN(x) {
		return 0
	}
	return min(max(x, -math.MaxFloat64), math.MaxFloat64)
}

func allFinite(list []float64) []float64 {
	out := make([]float64, len(list))
	for i, x := range list {
		out[i] = finite(x)
	}
	return out
}

// sized says that a list that was kept has another length than it must have.
func sized(what string, is, want int) error {
	if is != want {
		return fmt.Errorf("%d %s, expected %d", is, what, want)
	}
	return nil
}

type keptCounter struct {
	Begun    bool    `json:"begun,omitempty"`
	Source   int64   `json:"source,omitempty"`
	Last     []int64 `json:"last,omitempty"`
	Restarts int     `json:"restarts,omitempty"`
}

func keepCounters(pools [2]counter) (out [2]keptCounter) {
	for p, c := range pools {
		out[p] = keptCounter{c.begun, c.source, c.last, c.restarts}
	}
	return out
}

func takeUpCounters(from [2]keptCounter, values int) (out [2]counter, err error) {
	for p, c := range from {
		if c.Begun {
			if err := sized("values of a counter", len(c.Last), values); err != nil {
				return out, err
			}
		}
		out[p] = counter{c.Begun, c.Source, c.Last, c.Restarts}
	}
	return out, nil
}

type keptEvents struct {
	L        []float64      `json:"l"`
	Pools    [2]keptCounter `json:"pools"`
	At       [2]time.Time   `json:"at"`
	Fresh    [2]bool        `json:"fresh"`
	Skip     [2]bool        `json:"skip"`
	Open     [2]int64       `json:"open"`
	Seen     [2]int64       `json:"seen"`
	Expected float64        `json:"expected"`
	Best     float64        `json:"best"`
}

func (t *eventsTest) keep() any {
	return keptEvents{allFinite(t.split.L[:]), keepCounters(t.pools), t.at, t.fresh, t.skip, t.open, t.seen, t.expected, finite(t.best)}
}

func (t *eventsTest) takeUp(data []byte) (err error) {
	var k keptEvents
	if err := json.Unmarshal(data, &k); err != nil {
		return err
	}
	if err := sized("likelihoods", len(k.L), len(t.split.L)); err != nil {
		return err
	}
	if t.pools, err = takeUpCounters(k.Pools, 1); err != nil {
		return err
	}
	copy(t.split.L[:], k.L)
	t.at, t.fresh, t.skip, t.open, t.seen, t.expected, t.best = k.At, k.Fresh, k.Skip, k.Open, k.Seen, k.Expected, k.Best
	return nil
}

type keptShares struct {
	Pools [2]keptCounter `json:"pools"`
	Both  Comparison     `json:"both"`
	All   Pair           `json:"all"`
	Best  float64        `json:"best"`
}

func (t *sharesTest) keep() any {
	return keptShares{keepCounters(t.pools), t.both, t.all, finite(t.best)}
}

func (t *sharesTest) takeUp(data []byte) (err error) {
	var k keptShares
	if err := json.Unmarshal(data, &k); err != nil {
		return err
	}
	if t.pools, err = takeUpCounters(k.Pools, 2); err != nil {
		return err
	}
	t.both, t.all, t.best = k.Both, k.All, k.Best
	return nil
}

type keptSessions struct {
	L     []float64 `json:"l"`
	All   Pair      `json:"all"`
	Slots string    `json:"slots"` // those in use: number, block, and what they were seen in, seven bytes each
	Block uint32    `json:"block"`
	Since time.Time `json:"since"`
	Open  [2]Counts `json:"open"`
	Best  float64   `json:"best"`
}

const slotBytes = 7

func (t *sessionsTest) keep() any {
	var packed []byte
	for i, s := range t.slots {
		if s == (slot{}) {
			continue
		}
		packed = binary.BigEndian.AppendUint16(packed, uint16(i))
		packed = binary.BigEndian.AppendUint32(packed, s.block)
		packed = append(packed, uint8(s.pool)<<4|s.pools<<2|s.failed)
	}
	return keptSessions{allFinite(t.grid.L[:]), t.all, base64.StdEncoding.EncodeToString(packed), t.block, t.since, t.open, finite(t.best)}
}

func (t *sessionsTest) takeUp(data []byte) error {
	var k keptSessions
	if err := json.Unmarshal(data, &k); err != nil {
		return err
	}
	if err := sized("likelihoods", len(k.L), len(t.grid.L)); err != nil {
		return err
	}
	packed, err := base64.StdEncoding.DecodeString(k.Slots)
	if err != nil || len(packed)%slotBytes != 0 || len(packed) > slotBytes*slots {
		return fmt.Errorf("%d bytes of sessions that cannot be read", len(packed))
	}
	for ; len(packed) > 0; packed = packed[slotBytes:] {
		i, seen := binary.BigEndian.Uint16(packed), packed[slotBytes-1]
		if i >= slots || seen>>4 > 1 {
			return fmt.Errorf("session %d of pool %d is none", i, seen>>4)
		}
		t.slots[i] = slot{block: binary.BigEndian.Uint32(packed[2:]), pool: Pool(seen >> 4), pools: seen >> 2 & 3, failed: seen & 3}
	}
	copy(t.grid.L[:], k.L)
	t.all, t.block, t.since, t.open, t.best = k.All, k.Block, k.Since, k.Open, k.Best
	return nil
}

type keptLatency struct {
	Pools  [2]keptCounter `json:"pools"`
	Open   [2][]int64     `json:"open"`
	Units  [2]int64       `json:"units"`
	Since  time.Time      `json:"since"`
	All    [2][]int64     `json:"all"`
	Total  [2]int64       `json:"total"`
	Scores []keptScore    `json:"scores,omitempty"`
	Best   float64        `json:"best"`
	Now    float64        `json:"now"`
	Carry  float64        `json:"carry,omitempty"`
}

type keptScore struct {
	Weight float64   `json:"weight"`
	Of     []float64 `json:"of"`
	Logs   []float64 `json:"logs"`
}

func (t *latencyTest) keep() any {
	k := keptLatency{keepCounters(t.pools), t.open, t.units, t.since, t.all, t.total, nil, finite(t.best), finite(t.now), t.carry}
	for _, s := range t.scores {
		k.Scores = append(k.Scores, keptScore{s.weight, s.of, allFinite(s.logs[:])})
	}
	return k
}

func (t *latencyTest) takeUp(data []byte) (err error) {
	var k keptLatency
	if err := json.Unmarshal(data, &k); err != nil {
		return err
	}
	if t.pools, err = takeUpCounters(k.Pools, len(t.added)); err != nil {
		return err
	}
	for p := range k.Open {
		if err := sized("buckets", len(k.Open[p]), len(t.added)); err != nil {
			return err
		}
		if err := sized("bounds", len(k.All[p]), len(t.rule.Bounds)); err != nil {
			return err
		}
	}
	for _, s := range k.Scores {
		if err := sized("buckets of a score", len(s.Of), len(t.added)); err != nil {
			return err
		}
		if err := sized("tilts", len(s.Logs), len(tilts)); err != nil {
			return err
		}
		next := newScore(s.Weight, s.Of)
		copy(next.logs[:], s.Logs)
		t.scores = append(t.scores, next)
	}
	t.carry = min(max(k.Carry, 0), .999)
	t.open, t.units, t.since, t.all, t.total, t.best, t.now = k.Open, k.Units, k.Since, k.All, k.Total, k.Best, k.Now
	return nil
}

type keptMean struct {
	N    int64   `json:"n"`
	Sum  float64 `json:"sum"`
	Vary float64 `json:"vary"`
}

func (t *valuesTest) keep() any {
	var k [2]keptMean
	for p, m := range t.pools {
		k[p] = keptMean{m.n, m.sum, m.vary}
	}
	return k
}

func (t *valuesTest) takeUp(data []byte) error {
	var k [2]keptMean
	if err := json.Unmarshal(data, &k); err != nil {
		return err
	}
	for p, m := range k {
		t.pools[p] = mean{m.N, m.Sum, m.Vary}
	}
	return nil
}

type keptSeries struct {
	At     [2]time.Time `json:"at"`
	Value  [2]float64   `json:"value"`
	Have   [2]bool      `json:"have"`
	Pairs  int64        `json:"pairs"`
	Sum    float64      `json:"sum"`
	Phase  int          `json:"phase"`
	Inside float64      `json:"inside"`
	Blocks int64        `json:"blocks"`
	Size   float64      `json:"size"`
	Sums   [5]float64   `json:"sums"` // ds, is, dds, dss, iss
	Best   float64      `json:"best"`
}

func (t *seriesTest) keep() any {
	sums := [5]float64{t.ds, t.is, t.dds, t.dss, t.iss}
	for i := range sums {
		sums[i] = finite(sums[i])
	}
	return keptSeries{t.at, t.value, t.have, t.pairs, finite(t.sum), t.phase, finite(t.inside), t.blocks, finite(t.size), sums, finite(t.best)}
}

func (t *seriesTest) takeUp(data []byte) error {
	var k keptSeries
	if err := json.Unmarshal(data, &k); err != nil {
		return err
	}
	t.at, t.value, t.have, t.pairs, t.sum, t.phase, t.inside, t.blocks, t.size, t.best = k.At, k.Value, k.Have, k.Pairs, k.Sum, k.Phase, k.Inside, k.Blocks, k.Size, k.Best
	t.ds, t.is, t.dds, t.dss, t.iss = k.Sums[0], k.Sums[1], k.Sums[2], k.Sums[3], k.Sums[4]
	return nil
}
