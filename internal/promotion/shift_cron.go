package promotion

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/estate"
)

// failuresInARow of a scheduled job are no bad luck any more.
const failuresInARow = 2

// cronBase is how the scheduler stood when the new release took it over.
type cronBase struct {
	Since   time.Time `json:"since"`
	Failing []int64   `json:"failing,omitempty"` // jobs that failed already
}

// cronWatch looks at the scheduler of the new release, which has it from the last step on. There is
// nothing beside it to compare with, and a job that fails each time needs no statistics.
type cronWatch struct {
	work    *Work
	client  *bridge.Client
	read    time.Time
	told    *bridge.CronState
	trouble string
	fails   []string
}

func newCronWatch(w *Work) *cronWatch { return &cronWatch{work: w} }

func (c *cronWatch) close() {
	if c.client != nil {
		c.client.Close()
	}
}

// look asks the new pool, now and then. That it cannot be asked is told, and no reason to go back.
func (c *cronWatch) look(ctx context.Context) error {
	if time.Since(c.read) < signalsEvery {
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, signalsLimit)
	defer cancel()
	var err error
	if c.client == nil {
		c.client, err = c.work.bridge(bounded, c.work.memory.NewPool)
	}
	var told bridge.Signals
	if err == nil {
		told, err = c.client.Signals(bounded, c.work.state.Database)
	}
	c.read = time.Now()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	c.told, c.trouble = nil, ""
	c.fails = c.fails[:0]
	if err != nil {
		c.trouble = oneLine(err.Error())
		if c.client != nil {
			c.client.Close()
			c.client = nil
		}
		return nil
	}
	if a := c.work.memory.Shift.After; a != nil && c.read.Sub(a.Read) >= a.Every {
		c.fails = append(c.fails, a.look(c.read.UTC(), told)...)
		if err := c.work.remember(ctx); err != nil {
			return err
		}
	}
	if told.Cron == nil {
		c.trouble = strings.Join(told.Problems, "; ")
		return nil
	}
	c.told = told.Cron
	base := c.work.memory.Shift.Cron
	if base == nil {
		base = &cronBase{Since: time.Now().UTC()}
		for _, job := range told.Cron.Jobs {
			if job.Failures > 0 {
				base.Failing = append(base.Failing, job.ID)
			}
		}
		c.work.memory.Shift.Cron = base
		return c.work.remember(ctx)
	}
	c.fails = append(c.fails, judgeCron(c.work.env.Environment.Rollout, *base, *told.Cron, time.Since(base.Since))...)
	return nil
}

// judgeCron says what is wrong with the scheduler since the new release has had it for so long.
func judgeCron(rollout estate.Rollout, base cronBase, now bridge.CronState, had time.Duration) (fails []string) {
	failing, late := rule(rollout, "cron.failing"), rule(rollout, "cron.late")
	if failing.role == estate.Trigger {
		var names []string
		for _, job := range now.Jobs {
			if job.Failures >= failuresInARow && !slices.Contains(base.Failing, job.ID) {
				names = append(names, fmt.Sprintf("%s has failed %d times in a row", job.Name, job.Failures))
			}
		}
		if float64(len(names)) > failing.tolerance {
			fails = append(fails, "cron.failing: "+strings.Join(names, ", "))
		}
	}
	// What was late before the new release had the scheduler is not its fault.
	if since := min(now.Late, had.Seconds()); late.role == estate.Trigger && since > late.tolerance {
		fails = append(fails, fmt.Sprintf("cron.late: %s has been due for %.0f s of the new release, %.0f s are tolerated", now.LateJob, since, late.tolerance))
	}
	return fails
}

func (c *cronWatch) failure() string { return strings.Join(c.fails, "; ") }

func (c *cronWatch) says() string {
	switch {
	case c.trouble != "":
		return "; the scheduler could not be looked at: " + c.trouble
	case c.told == nil:
		return ""
	}
	return fmt.Sprintf("; scheduler: %d jobs, the latest due for %.0f s", c.told.Active, c.told.Late)
}
