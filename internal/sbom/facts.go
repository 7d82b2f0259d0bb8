package sbom

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"path"
	"strings"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/odoo"
	"github.com/waybill-dev/waybill/internal/release"
)

// facts are what files tell, by the path of the file, without the leading slash: a layer above may
// take a file away, and its facts with it.
type facts struct {
	Packages      map[string][]Package    `json:"packages"`
	Owned         map[string][]string     `json:"owned"` // metadata of Python distributions by the package's list that names it
	Distributions map[string]Distribution `json:"distributions"`
	Licenses      map[string]string       `json:"licenses"` // of Odoo modules, by manifest
	Distros       map[string]Distro       `json:"distros"`
}

func newFacts() facts {
	return facts{Packages: map[string][]Package{}, Owned: map[string][]string{}, Distributions: map[string]Distribution{},
		Licenses: map[string]string{}, Distros: map[string]Distro{}}
}

// taker gives what reads a file; nil for a file that tells nothing.
func taker(name string) func(*facts, string, io.Reader) error {
	dir, base := path.Split(name)
	switch {
	case name == "var/lib/dpkg/status", dir == "var/lib/dpkg/status.d/" && !strings.HasSuffix(base, ".md5sums"):
		return (*facts).status
	case dir == "var/lib/dpkg/info/" && strings.HasSuffix(base, ".list"):
		return (*facts).list
	case isMetadata(name):
		return (*facts).metadata
	case base == "__manifest__.py", base == "__openerp__.py":
		return (*facts).manifest
	case name == "etc/os-release", name == "usr/lib/os-release":
		return (*facts).release
	}
	return nil
}

// isMetadata knows where installers put what a Python distribution says of itself: wheels in
// X.dist-info/METADATA, setuptools in X.egg-info/PKG-INFO, distutils in the file X.egg-info.
func isMetadata(name string) bool {
	return strings.HasSuffix(name, ".dist-info/METADATA") || strings.HasSuffix(name, ".egg-info/PKG-INFO") ||
		strings.HasSuffix(name, ".egg/EGG-INFO/PKG-INFO") || strings.HasSuffix(name, ".egg-info")
}

// list notes which Python distributions came in a Debian package.
func (f *facts) list(name string, r io.Reader) error {
	lines := bufio.NewScanner(&limited{r, maxList})
	lines.Buffer(nil, 64<<10)
	for lines.Scan() {
		if file := strings.TrimPrefix(lines.Text(), "/"); isMetadata(file) {
			f.Owned[name] = append(f.Owned[name], file)
		}
	}
	return lines.Err()
}

// ownerOf is the package whose list of files this is: "python3-attr.list", "libc6:amd64.list".
func ownerOf(list string) string {
	owner, _, _ := strings.Cut(strings.TrimSuffix(path.Base(list), ".list"), ":")
	return owner
}

// metadata reads the head of what a distribution says of itself, which has the form of a mail's.
func (f *facts) metadata(name string, r io.Reader) error {
	lines := bufio.NewScanner(io.LimitReader(r, maxHeader))
	lines.Buffer(nil, maxHeader)
	var d Distribution
	var last *string
	for lines.Scan() {
		line := strings.TrimSuffix(lines.Text(), "\r")
		if line == "" {
			break
		}
		if line[0] == ' ' || line[0] == '\t' { // a license of several lines is a text, not a name
			if last == &d.License {
				d.License = ""
			}
			continue
		}
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		last = nil
		switch strings.ToLower(key) {
		case "name":
			d.Name = value
		case "version":
			d.Version = value
		case "license":
			if d.License == "" && len(value) <= 100 && value != "UNKNOWN" {
				d.License, last = value, &d.License
			}
		case "license-expression":
			d.License = value
		}
	}
	if err := lines.Err(); err != nil && !errors.Is(err, bufio.ErrTooLong) {
		return err
	}
	if d.Name == "" {
		d.Name, d.Version = named(name)
	}
	f.Distributions[name] = d
	return nil
}

// named takes name and version from the folder, "qrcode-8.2.dist-info", where the metadata is empty. A
// distribution without a version is listed without one: it is there.
func named(file string) (name, version string) {
	for part := range strings.SplitSeq(file, "/") {
		for _, suffix := range []string{".dist-info", ".egg-info", ".egg"} {
			if stem, ok := strings.CutSuffix(part, suffix); ok {
				name, version, _ = strings.Cut(stem, "-")
				version, _, _ = strings.Cut(version, "-py")
			}
		}
	}
	return name, version
}

// manifest keeps a module's license. A manifest that cannot be read has none: whether it may be so is
// the build's business.
func (f *facts) manifest(name string, r io.Reader) error {
	content, err := io.ReadAll(io.LimitReader(r, maxHeader+1))
	if err != nil || len(content) > maxHeader {
		return err
	}
	m, err := odoo.ParseManifest(content)
	if err != nil {
		return nil
	}
	license, _ := m.Values.Get("license")
	if text, ok := license.(string); ok && text != "" {
		f.Licenses[name] = text
	}
	return nil
}

// licenses gives the license of each module, from the manifest that Odoo would find.
func (f *facts) licenses(rel release.Release) map[string]string {
	found := map[string]string{}
	note := func(modules []release.Module, addons ...string) {
		for _, m := range modules {
			for _, folder := range addons {
				for _, file := range []string{"__manifest__.py", "__openerp__.py"} {
					if license := f.Licenses[path.Join(strings.TrimPrefix(folder, "/"), m.Name, file)]; license != "" && found[m.Name] == "" {
						found[m.Name] = license
					}
				}
			}
		}
	}
	note(rel.Base.Modules, rel.Base.AddonsPaths...)
	note(rel.Modules, bridge.AddonsPath)
	return found
}

// release reads os-release, a list of shell assignments.
func (f *facts) release(name string, r io.Reader) error {
	content, err := io.ReadAll(&limited{r, maxHeader})
	if err != nil {
		return err
	}
	var d Distro
	for line := range bytes.Lines(content) {
		key, value, _ := strings.Cut(strings.TrimSpace(string(line)), "=")
		value = strings.Trim(value, `"'`)
		switch key {
		case "ID":
			d.ID = strings.ToLower(value)
		case "VERSION_ID":
			d.Version = value
		case "PRETTY_NAME":
			d.Name = value
		}
	}
	f.Distros[name] = d
	return nil
}

func (f *facts) distro() Distro {
	if d, ok := f.Distros["etc/os-release"]; ok {
		return d
	}
	return f.Distros["usr/lib/os-release"]
}

// limited fails where io.LimitReader would cut off.
type limited struct {
	r    io.Reader
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, errors.New("the file is larger than any that was ever seen there")
	}
	return n, err
}
