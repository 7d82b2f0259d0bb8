package sbom

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// sourceField is "glibc" or "glibc (2.41-12)": the version is named where it differs.
var sourceField = regexp.MustCompile(`^(\S+)(?:\s+\(([^)]+)\))?$`)

// status reads dpkg's list of packages. Images without dpkg have a stanza a file in status.d, without
// the field Status; elsewhere only what is installed counts: of a removed package only its
// configuration is left.
func (f *facts) status(name string, r io.Reader) error {
	lines := bufio.NewScanner(&limited{r, maxStatus})
	lines.Buffer(nil, 4<<20)
	found := []Package{}
	stanza := map[string]string{}
	end := func() error {
		defer clear(stanza)
		if len(stanza) == 0 {
			return nil
		}
		p := Package{Name: stanza["package"], Version: stanza["version"], Architecture: stanza["architecture"]}
		// "hold ok installed" and "deinstall ok installed" are there too; of "config-files" nothing runs.
		state := strings.Fields(stanza["status"])
		if name == "var/lib/dpkg/status" && (len(state) != 3 || state[2] == "config-files" || state[2] == "not-installed") {
			return nil
		}
		if p.Name == "" || p.Version == "" {
			return fmt.Errorf("the entry of package %q has no name or no version; the list of packages is damaged", p.Name)
		}
		p.Source, p.SourceVersion = p.Name, p.Version
		if source := stanza["source"]; source != "" {
			match := sourceField.FindStringSubmatch(source)
			if match == nil {
				return fmt.Errorf("the entry of package %q names the source %q; expected NAME or NAME (VERSION)", p.Name, source)
			}
			if p.Source = match[1]; match[2] != "" {
				p.SourceVersion = match[2]
			}
		}
		found = append(found, p)
		return nil
	}
	for lines.Scan() {
		line := strings.TrimRight(lines.Text(), " \t\r")
		switch {
		case line == "":
			if err := end(); err != nil {
				return err
			}
		case line[0] == ' ' || line[0] == '\t':
		default:
			key, value, _ := strings.Cut(line, ":")
			switch key = strings.ToLower(key); key {
			case "package", "status", "version", "architecture", "source":
				stanza[key] = strings.TrimSpace(value)
			}
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if err := end(); err != nil {
		return err
	}
	f.Packages[name] = found
	return nil
}
