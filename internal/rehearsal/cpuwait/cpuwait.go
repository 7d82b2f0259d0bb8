// Package cpuwait tells how long processes waited for a CPU: they could have gone on, and others had it. What a
// process took without that is what it would take on a machine that has nothing else to do.
//
// It reads /proc/PID/schedstat of Linux, which anybody may read, and starts nothing.
package cpuwait

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Root names processes: those below PID, it among them, whose command line contains Match.
type Root struct {
	PID   int
	Match string
}

// Meter adds up the waiting of processes that come and go. The zero value is ready. It is not safe for concurrent use.
type Meter struct {
	last  time.Time // of the last look
	tasks map[string]time.Duration
	sum   time.Duration
}

// Look returns what the processes have waited for since the first look, as far as looks saw it: what a process waits
// between the last look and its end is missed. Between two looks nobody counts for more than the time that passed:
// an update and its database session take turns, and what waits side by side waits once.
func (m *Meter) Look(roots ...Root) time.Duration {
	now, before := time.Now(), m.tasks
	m.tasks = map[string]time.Duration{}
	var waited time.Duration
	for _, root := range roots {
		for _, pid := range below(root.PID) {
			command, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
			if err != nil || !bytes.Contains(bytes.ReplaceAll(command, []byte{0}, []byte{' '}), []byte(root.Match)) {
				continue
			}
			stats, _ := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task", "*", "schedstat"))
			for _, stat := range stats {
				so := waits(stat)
				m.tasks[stat] = so
				if was := before[stat]; so > was {
					waited += so - was
				}
			}
		}
	}
	if before != nil {
		m.sum += min(waited, now.Sub(m.last))
	}
	m.last = now
	return m.sum
}

// below lists a process and its descendants.
func below(pid int) []int {
	if pid <= 0 {
		return nil
	}
	all := []int{pid}
	for i := 0; i < len(all) && i < 10000; i++ {
		lists, _ := filepath.Glob(filepath.Join("/proc", strconv.Itoa(all[i]), "task", "*", "children"))
		for _, list := range lists {
			content, err := os.ReadFile(list)
			if err != nil {
				continue
			}
			for _, word := range strings.Fields(string(content)) {
				if child, err := strconv.Atoi(word); err == nil {
					all = append(all, child)
				}
			}
		}
	}
	return all
}

// waits reads the second number of a schedstat: nanoseconds on the run queue (Documentation/scheduler/sched-stats).
func waits(path string) time.Duration {
	content, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(content))
	if len(fields) < 3 {
		return 0
	}
	n, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return time.Duration(n)
}
