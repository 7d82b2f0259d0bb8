// Package secret reads what an estate only names: env:NAME, file:PATH or kubernetes:NAMESPACE/NAME/KEY. It keeps
// nothing: what was changed is what the next reader gets. Errors name the reference, never the value.
package secret

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Forms is what a reference may look like, in words for people.
const Forms = "env:NAME, file:PATH or kubernetes:NAMESPACE/NAME/KEY"

// Pattern is what a reference looks like, as a regular expression that JSON Schema knows too.
const Pattern = `^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+|kubernetes:[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?/[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/[A-Za-z0-9._-]{1,253})$`

// limit bounds a secret, in bytes.
const limit = 4096

var pattern = regexp.MustCompile(Pattern)

// Is says whether a text is a reference to a secret.
func Is(reference string) bool { return pattern.MatchString(reference) }

// Read returns what a reference stands for, without the line's end. A file's path may be relative to root.
func Read(ctx context.Context, root, reference string) (string, error) {
	if !Is(reference) {
		return "", fmt.Errorf("this is no reference to a secret; %s expected", Forms)
	}
	scheme, rest, _ := strings.Cut(reference, ":")
	var content string
	var err error
	switch scheme {
	case "env":
		content, err = fromEnvironment(rest)
	case "file":
		if !filepath.IsAbs(rest) {
			rest = filepath.Join(root, rest)
		}
		content, err = fromFile(rest)
	case "kubernetes":
		content, err = fromKubernetes(ctx, rest)
	}
	if err == nil {
		content, err = line(content)
	}
	if err != nil {
		return "", fmt.Errorf("read secret %s: %w", reference, err)
	}
	return content, nil
}

// line is a secret without the end of its line.
func line(content string) (string, error) {
	if len(content) > limit {
		return "", fmt.Errorf("it is longer than %d bytes", limit)
	}
	value := strings.TrimRight(content, "\r\n")
	if value == "" || strings.ContainsAny(value, "\n\x00") {
		return "", errors.New("one line with the secret expected")
	}
	return value, nil
}

func fromEnvironment(name string) (string, error) {
	value := os.Getenv(name)
	if value == "" {
		return "", errors.New("the variable is not set; set it where the server is started")
	}
	return value, nil
}

func fromFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", errors.New("it is no regular file")
	}
	content, err := io.ReadAll(io.LimitReader(f, limit+1))
	return string(content), err
}
