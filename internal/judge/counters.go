package judge

import "errors"

// What may be wrong with an observation. It is then not used, and the verdict says so.
var (
	errNegative = errors.New("a count below 0")
	errMore     = errors.New("more bad ones than there are")
	errNoNumber = errors.New("not a number")
	errWeight   = errors.New("a weight that is not between 0 and 1")
	errBuckets  = errors.New("a histogram of another size")
)

// counter follows one counter of one pool, or several that belong together.
type counter struct {
	begun    bool
	source   int64
	last     []int64
	restarts int
}

// step takes the counter's values and gives what was added; first is true where counting begins, at the
// first reading and after a restart. What came between the last reading and a restart is not known,
// nor what came between the restart and this reading: neither counts.
func (c *counter) step(source int64, now []int64, added []int64) (first bool) {
	back := source != c.source
	for i := range now {
		if c.begun && now[i] < c.last[i] {
			back = true
		}
	}
	if !c.begun || back {
		if c.begun {
			c.restarts++
		}
		c.begun, c.source = true, source
		c.last = append(c.last[:0], now...)
		return true
	}
	for i := range now {
		added[i] = now[i] - c.last[i]
		c.last[i] = now[i]
	}
	return false
}
