// Package results brings what a job has written out of its pod where no folder is shared with it: a container beside the job prints the
// files into its own log once the job has ended, and the log is read through the cluster's API. That takes no network, no right but
// to read logs, and works where a pod reaches nothing.
package results

import (
	"bufio"
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/waybill-dev/waybill/internal/runtime"
	"github.com/waybill-dev/waybill/internal/runtime/folder"
)

// most is how many bytes of files are printed: nodes begin a container's log anew at 10 MiB, and then the first part is not found again.
const most = 6 << 20

// MaxLog is the most that Run prints, in bytes.
const MaxLog = most/3*4 + 64<<10

// Run waits until it is told to end, which the cluster does after the job has, and prints the folder's files, the smallest first. One that
// does not fit any more is left out, as what is larger than a file may be.
func Run(ctx context.Context, dir string, to io.Writer) error {
	<-ctx.Done()
	files, err := folder.ReadOut(dir)
	if err != nil {
		return err
	}
	names := slices.SortedFunc(maps.Keys(files), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(files[a]), len(files[b])), strings.Compare(a, b))
	})
	w, total := bufio.NewWriter(to), 0
	for _, name := range names {
		if total += len(files[name]); total > most {
			break
		}
		if _, err := fmt.Fprintf(w, "%s %s\n", base64.StdEncoding.EncodeToString([]byte(name)), base64.StdEncoding.EncodeToString(files[name])); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintln(w, "."); err != nil {
		return err
	}
	return w.Flush()
}

// Parse reads such a log. It errs where the end of it is missing.
func Parse(log string) (runtime.Files, error) {
	files := runtime.Files{}
	for line := range strings.Lines(log) {
		line = strings.TrimSuffix(line, "\n")
		if line == "." {
			return files, nil
		}
		n, c, ok := strings.Cut(line, " ")
		name, err := base64.StdEncoding.DecodeString(n)
		if !ok || err != nil || string(name) != filepath.Base(string(name)) {
			return nil, fmt.Errorf("what a job has written does not read: %.60q is no file", line)
		}
		content, err := base64.StdEncoding.DecodeString(c)
		if err != nil {
			return nil, fmt.Errorf("what a job has written does not read: %s: %w", name, err)
		}
		if len(files) == runtime.MaxFiles || len(content) > runtime.MaxOutBytes {
			return nil, fmt.Errorf("what a job has written does not read: more than %d files, or one of more than %d bytes", runtime.MaxFiles, runtime.MaxOutBytes)
		}
		files[string(name)] = content
	}
	return nil, fmt.Errorf("what a job has written is cut off after %d files", len(files))
}
