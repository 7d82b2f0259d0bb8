package rehearsal

import (
	"fmt"
	"sync"
	"time"
)

// silence is how long a rehearsal says nothing at most.
const silence = 10 * time.Second

// teller passes progress on, one at a time, and says the last again, with how long it takes already, where nothing
// new comes.
type teller struct {
	say  func(string)
	mu   sync.Mutex
	last string
	came time.Time // when last came
	said time.Time // when something was said
}

// tell passes on what goes on now. What is told again is nothing new: the beat says for how long.
func (t *teller) tell(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if text == t.last {
		return
	}
	now := time.Now()
	t.last, t.came, t.said = text, now, now
	t.say(text)
}

// beat says the last again if nothing was said for that long.
func (t *teller) beat(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last != "" && now.Sub(t.said) >= silence {
		t.said = now
		t.say(fmt.Sprintf("%s (for %.0f s)", t.last, now.Sub(t.came).Seconds()))
	}
}

// start has it beat until end is called.
func (t *teller) start() (end func()) {
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case now := <-tick.C:
				t.beat(now)
			}
		}
	}()
	return func() { close(stop); <-done }
}
