package runtime

import (
	"fmt"
	"regexp"
	"strings"
)

// Limits on what is given to containers and read back from them.
const (
	MaxFiles     = 64
	MaxFileBytes = 4 << 20
	MaxOutBytes  = 1 << 20
	MaxLogBytes  = 64 << 10 // of a job's output that its state holds
)

var dnsLabel = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// longestPool leaves room in a DNS label for "-websocket".
const longestPool = 63 - len("-websocket")

// CheckName refuses what is no DNS label; what says of what it is the name.
func CheckName(what, name string) error {
	if !dnsLabel.MatchString(name) {
		return fmt.Errorf("%s %q: expected a DNS label (a-z, 0-9 and -, at most 63 characters, no - at either end)", what, name)
	}
	return nil
}

// CheckPool refuses names that an environment or a pool cannot have.
func CheckPool(environment, pool string) error {
	if err := CheckName("environment", environment); err != nil {
		return err
	}
	if len(pool) > longestPool {
		return fmt.Errorf("pool %q: expected at most %d characters", pool, longestPool)
	}
	return CheckName("pool", pool)
}

// CheckJob refuses names that an environment or a job cannot have.
func CheckJob(environment, job string) error {
	if err := CheckName("environment", environment); err != nil {
		return err
	}
	return CheckName("job", job)
}

// Check refuses files that a container is not given: too many, too large, or not in the folder itself.
func (files Files) Check() error {
	if len(files) > MaxFiles {
		return fmt.Errorf("%d files for a container: expected at most %d", len(files), MaxFiles)
	}
	for name, content := range files {
		if name == "" || len(name) > 200 || strings.HasPrefix(name, ".") || strings.ContainsAny(name, "/\\\x00") {
			return fmt.Errorf("file %q for a container: expected a plain file name, without folder and not beginning with a dot", name)
		}
		if len(content) > MaxFileBytes {
			return fmt.Errorf("file %q for a container has %d bytes: expected at most %d", name, len(content), MaxFileBytes)
		}
	}
	return nil
}
