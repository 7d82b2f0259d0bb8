package docker

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/waybill-dev/waybill/internal/router"
)

// longestSocket is the longest path of a Unix socket on Linux: sun_path has 108 bytes, with the
// final zero (unix(7)).
const longestSocket = 107

const adminSocket = "admin.sock"

// Router gives control of the environment's router through its Unix socket.
func (r *Runtime) Router(environment string) router.Control {
	return router.Dial(r.sockets.path(r.routerDir(environment)))
}

// socketFolders shortens paths of sockets that are too long: the folder is held open and the
// socket reached through /proc/self/fd.
type socketFolders struct {
	mu   sync.Mutex
	open map[string]*os.File
}

// path is where the folder's admin socket can be dialled by this process.
func (s *socketFolders) path(dir string) string {
	long := filepath.Join(dir, adminSocket)
	if len(long) <= longestSocket {
		return long
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.open[dir]
	if f != nil && !sameFolder(f, dir) { // the environment was removed and made again
		_ = f.Close()
		delete(s.open, dir)
		f = nil
	}
	if f == nil {
		var err error
		if f, err = os.Open(dir); err != nil {
			return long // dialling it says that there is no such folder
		}
		if s.open == nil {
			s.open = map[string]*os.File{}
		}
		s.open[dir] = f
	}
	return "/proc/self/fd/" + strconv.Itoa(int(f.Fd())) + "/" + adminSocket
}

func sameFolder(f *os.File, dir string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(dir)
	return err == nil && os.SameFile(a, b)
}

func (s *socketFolders) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []error
	for _, f := range s.open {
		all = append(all, f.Close())
	}
	s.open = nil
	return errors.Join(all...)
}
