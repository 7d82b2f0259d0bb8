package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// lockFile is postmaster.pid, or the lock beside a socket (which has the first five lines of it).
type lockFile struct {
	PID       int
	DataDir   string
	Port      int
	SocketDir string
}

func readLock(path string) (lockFile, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return lockFile{}, err
	}
	lines := append(strings.Split(string(raw), "\n"), "", "", "", "", "")
	var l lockFile
	if l.PID, err = strconv.Atoi(strings.TrimSpace(lines[0])); err != nil {
		return lockFile{}, fmt.Errorf("%s: its first line is no process id: %q", path, lines[0])
	}
	l.PID = max(l.PID, -l.PID) // negative in single-user mode
	l.DataDir = lines[1]
	l.Port, _ = strconv.Atoi(lines[3])
	l.SocketDir = lines[4]
	return l, nil
}

// running says whether a postmaster runs on our data folder, waiting a little where one is just starting.
func (c *Cluster) running(ctx context.Context) (lockFile, bool, error) {
	path := filepath.Join(c.dataDir(), "postmaster.pid")
	var lock lockFile
	found := false
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	err := poll(ctx, 50*time.Millisecond, func() (bool, error) {
		l, err := readLock(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			found = false
			return true, nil
		case err != nil:
			return false, nil // half-written: a moment later it is whole
		}
		lock, found = l, c.isPostmaster(l.PID)
		return !found || l.SocketDir != "", nil // the socket's line comes once it listens
	})
	if err != nil && !found {
		return lockFile{}, false, fmt.Errorf("read %s: %w", path, err)
	}
	return lock, found, nil
}

// isPostmaster says whether the process lives and works in our data folder (a postmaster's working
// directory is its data folder). A process id alone proves nothing: after a reboot it may be anyone's.
func (c *Cluster) isPostmaster(pid int) bool { return workingDir(pid, c.dataDir()) }

func workingDir(pid int, dir string) bool {
	cwd, err := os.Stat(fmt.Sprintf("/proc/%d/cwd", pid))
	if err != nil {
		return false
	}
	data, err := os.Stat(dir)
	return err == nil && os.SameFile(cwd, data)
}

// clearStaleLocks removes lock files that name a process which is no server of ours: PostgreSQL itself
// gives up when that number belongs to a living process of the same user. It first waits until
// no process works in the data folder: backends outlive a killed postmaster for a moment, and starting
// beside them would destroy data.
func (c *Cluster) clearStaleLocks(ctx context.Context) error {
	wait, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var left []int
	err := poll(wait, 50*time.Millisecond, func() (bool, error) {
		left = c.processes()
		return len(left) == 0, nil
	})
	if err != nil {
		return fmt.Errorf("processes %v of an earlier server still work in %s: %w: end them, then try again", left, c.dataDir(), err)
	}
	if err := os.Remove(filepath.Join(c.dataDir(), "postmaster.pid")); err == nil {
		c.opts.Log.Warn("PostgreSQL was not shut down; it will recover", "name", c.opts.Name)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	socketLock := c.opts.socketFile() + ".lock"
	lock, err := readLock(socketLock)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && lock.DataDir != "" && lock.DataDir != c.dataDir() && workingDir(lock.PID, lock.DataDir) {
		return fmt.Errorf("socket %s: %w by the PostgreSQL in %s (process %d): choose another SocketDir or Port", c.opts.socketFile(), ErrPortInUse, lock.DataDir, lock.PID)
	}
	return os.Remove(socketLock)
}

// processes lists those that work in the data folder.
func (c *Cluster) processes() []int {
	entries, _ := os.ReadDir("/proc")
	var found []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && workingDir(pid, c.dataDir()) {
			found = append(found, pid)
		}
	}
	return found
}
