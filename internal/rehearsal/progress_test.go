package rehearsal

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestProgressIsNeverSilentForLong(t *testing.T) {
	var said []string
	p := &teller{say: func(text string) { said = append(said, text) }}
	end := p.start()
	p.beat(time.Now().Add(time.Hour))
	assert.Empty(t, said, "nothing goes on yet")
	p.tell("restore")
	p.beat(p.came.Add(silence - time.Second))
	p.tell("restore") // a table that is analyzed: nothing grows
	p.beat(p.came.Add(silence))
	p.beat(p.came.Add(silence + time.Second))
	p.beat(p.came.Add(2 * silence))
	p.tell("update")
	end()
	assert.Equal(t, []string{"restore", "restore (for 10 s)", "restore (for 20 s)", "update"}, said)
}
