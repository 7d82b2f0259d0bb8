package estate

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// maxSecret bounds a secret that is read from a file, in bytes.
const maxSecret = 4096

// Secret reads what a reference of the estate ("env:NAME" or "file:PATH", relative to root)
// stands for, without the line's end. Errors name the reference, never the value.
func Secret(root, reference string) (string, error) {
	scheme, rest, _ := strings.Cut(reference, ":")
	switch {
	case !secretRule.MatchString(reference):
		return "", fmt.Errorf("estate: this is no reference to a secret; env:NAME or file:PATH expected")
	case scheme == "env":
		value, set := os.LookupEnv(rest)
		if !set || value == "" {
			return "", fmt.Errorf("estate: read secret %s: the variable is not set; set it where the server is started", reference)
		}
		return value, nil
	}
	if !filepath.IsAbs(rest) {
		rest = filepath.Join(root, rest)
	}
	f, err := os.Open(rest)
	if err != nil {
		return "", fmt.Errorf("estate: read secret %s: %w", reference, err)
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", fmt.Errorf("estate: read secret %s: it is no regular file", reference)
	}
	content, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("estate: read secret %s: %w", reference, err)
	case len(content) > maxSecret:
		return "", fmt.Errorf("estate: read secret %s: the file is longer than %d bytes", reference, maxSecret)
	}
	value := strings.TrimRight(string(content), "\r\n")
	if value == "" || strings.ContainsAny(value, "\n\x00") {
		return "", fmt.Errorf("estate: read secret %s: one line with the secret expected", reference)
	}
	return value, nil
}
