package postgres

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// account is the user that the server runs as.
type account struct {
	name     string
	uid, gid int
	switched bool // we are root and change to it
}

// unprivileged picks that user: PostgreSQL refuses to run as root.
func unprivileged() (account, error) {
	if os.Geteuid() != 0 {
		return account{name: "uid " + strconv.Itoa(os.Geteuid()), uid: os.Geteuid(), gid: os.Getegid()}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		if err := errors.Join(err1, err2); err != nil {
			return account{}, err
		}
		return account{name: name, uid: uid, gid: gid, switched: true}, nil
	}
	return account{}, errors.New("PostgreSQL refuses to run as root and there is no user postgres or nobody: adduser --system --group postgres")
}

// apply makes a command run as that user, in a process group of its own so that Ctrl-C on Waybill's terminal
// does not reach it.
func (a account) apply(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if a.switched {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
	}
}

// own hands a file or folder over to the user, not following links.
func (a account) own(path string) error {
	if !a.switched {
		return nil
	}
	return os.Lchown(path, a.uid, a.gid)
}

// reaches errs with the first folder above that the user may not pass.
func (a account) reaches(dir string) error {
	if !a.switched {
		return nil
	}
	for {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		pass := info.Mode().Perm()&0o001 != 0 ||
			ok && int(st.Uid) == a.uid && info.Mode().Perm()&0o100 != 0 ||
			ok && int(st.Gid) == a.gid && info.Mode().Perm()&0o010 != 0
		if !pass {
			return fmt.Errorf("user %s, which PostgreSQL runs as, may not pass through %s (mode %04o): chmod o+x %s, or choose another data folder", a.name, dir, info.Mode().Perm(), dir)
		}
		if parent := filepath.Dir(dir); parent != dir {
			dir = parent
			continue
		}
		return nil
	}
}

// signalFast asks a postmaster for a fast shutdown.
func signalFast(pid int) error {
	err := syscall.Kill(pid, syscall.SIGINT)
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}
