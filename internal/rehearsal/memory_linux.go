package rehearsal

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// limitMemory bounds the address space of every process that the postmaster will start: one that wants more
// gets "out of memory" and its transaction ends, before the machine takes somebody else's process.
//
// It goes through prlimit(1) as the server's own user: that one may always lower its limits, while root may not where a
// container took CAP_SYS_RESOURCE away.
func limitMemory(ctx context.Context, dataDir string, bytes int64) error {
	pid, err := postmaster(dataDir)
	if err != nil {
		return err
	}
	info, err := os.Stat(dataDir)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "prlimit", "--pid", strconv.Itoa(pid), fmt.Sprintf("--as=%d", bytes))
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("limit the memory of process %d: %w: %s", pid, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// free is how many bytes of a folder's file system are free for us.
func free(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("ask for free space on %s: %w", dir, err)
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}
