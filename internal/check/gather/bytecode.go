package gather

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// firstRun says whether the interpreter runs at all, and has it keep the bytecode of what it imports: to compile its standard library
// anew would take nine tenths of each start. Only now may it write, as the user who owns nothing, and only into folders that are
// closed again before it is given what people wrote.
func (b *base) firstRun(ctx context.Context) error {
	folders, err := b.bytecodeFolders()
	if err != nil {
		return err
	}
	for _, folder := range folders {
		if err := errors.Join(os.Mkdir(folder, 0o755), os.Chmod(folder, 0o777)); err != nil {
			return err
		}
	}
	writing := *b
	writing.writes = true
	err = writing.try(ctx)
	for _, folder := range folders {
		err = errors.Join(err, closeFolder(folder))
	}
	return err
}

// bytecodeFolders are where the interpreter looks for the bytecode of the packages of its standard library.
func (b *base) bytecodeFolders() (folders []string, err error) {
	err = filepath.WalkDir(filepath.Join(b.dir, "root"), func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if sources, _ := filepath.Glob(filepath.Join(name, "*.py")); len(sources) > 0 && strings.Contains(name, b.Python) {
			folders = append(folders, filepath.Join(name, "__pycache__"))
		}
		return nil
	})
	return folders, err
}

// closeFolder makes this process's user the owner of what was written, and lets nobody else write.
func closeFolder(folder string) error {
	err := os.Chmod(folder, 0o755)
	found, listed := os.ReadDir(folder)
	if len(found) == 0 {
		return errors.Join(err, listed, os.Remove(folder))
	}
	for _, d := range found {
		file := filepath.Join(folder, d.Name())
		if !d.Type().IsRegular() {
			err = errors.Join(err, os.RemoveAll(file)) // bytecode is in files; anything else is not looked at
			continue
		}
		err = errors.Join(err, os.Lchown(file, os.Geteuid(), os.Getegid()), os.Chmod(file, 0o644))
	}
	return errors.Join(err, listed)
}
