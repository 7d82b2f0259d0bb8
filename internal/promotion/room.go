package promotion

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/waybill-dev/waybill/internal/checkpoint"
	"github.com/waybill-dev/waybill/internal/filestore"
)

// use is what something is going to take of the disk that a folder is on, there or not yet.
type use struct {
	dir   string
	bytes int64
}

// useOf is what a filestore is going to take of this machine's disks: nothing where it is in a bucket.
func useOf(s filestore.Store, bytes int64) []use {
	if f, ok := s.(filestore.Folder); ok {
		return []use{{f.Path(), bytes}}
	}
	return nil
}

// diskReserve always stays free, in bytes.
var diskReserve int64 = 512 << 20

// roomOn refuses what the disks have no room for: uses of one disk count together.
func roomOn(uses ...use) error {
	need, where := map[uint64]int64{}, map[uint64]string{}
	for _, u := range uses {
		dir := existing(u.dir)
		var st unix.Stat_t
		if err := unix.Stat(dir, &st); err != nil {
			return fmt.Errorf("look at %s: %w", dir, err)
		}
		need[uint64(st.Dev)] += u.bytes
		where[uint64(st.Dev)] = dir
	}
	for dev, bytes := range need {
		var st unix.Statfs_t
		if err := unix.Statfs(where[dev], &st); err != nil {
			return fmt.Errorf("ask for free space on %s: %w", where[dev], err)
		}
		free := int64(st.Bavail) * int64(st.Bsize)
		if free < bytes+diskReserve {
			return failed("it takes about %s on the disk of %s, where %s are free, of which %s stay free: %w. Free some first", size(bytes), where[dev], size(free), size(diskReserve), checkpoint.ErrNoSpace)
		}
	}
	return nil
}

// existing is the folder, or the nearest above it that is there.
func existing(dir string) string {
	for dir != "/" && dir != "." {
		if _, err := os.Stat(dir); err == nil {
			return dir
		}
		dir = filepath.Dir(dir)
	}
	return dir
}
