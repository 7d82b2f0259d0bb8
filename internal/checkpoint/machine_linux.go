package checkpoint

import (
	"fmt"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// tieToUs makes a program die with this process, even when it is killed, and be killed with its children.
func tieToUs(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}

// syncFolder writes a whole file system out, so that no manifest on it names objects that a power cut takes.
func syncFolder(dir string) error {
	fd, err := syscall.Open(dir, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	return unix.Syncfs(fd)
}

// needSpace errs with ErrNoSpace when a folder's file system has less than so many bytes free for us.
func needSpace(dir string, need int64, what string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("ask for free space on %s: %w", dir, err)
	}
	free := int64(st.Bavail) * int64(st.Bsize)
	if free < need {
		return fmt.Errorf("%s takes about %d MiB in %s, where %d MiB are free: %w: free some, or set another folder for temporary files", what, need>>20, dir, free>>20, ErrNoSpace)
	}
	return nil
}
