package check

import (
	"path"
	"runtime"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"
)

// Bits of File.Mode, as Linux has them.
const (
	modeType    = 0o170000
	modeRegular = 0o100000
	modeFolder  = 0o040000
	modeLink    = 0o120000
	modeSetuid  = 0o004000
	modeSetgid  = 0o002000
	modeOthers  = 0o000002 // may write
)

// eachFile visits the files of every module, those that Odoo would not load included: they get
// into the image all the same.
func (in *Input) eachFile(visit func(*Module, *File)) {
	for _, m := range in.Modules {
		for _, f := range m.Files {
			visit(m, f)
		}
	}
}

// eachModule looks into every module, several at once, and returns what was found in the modules' order.
func (in *Input) eachModule(find func(*Module) []Finding) []Finding {
	found := make([][]Finding, len(in.Modules))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, m := range in.Modules {
		group.Go(func() error {
			found[i] = find(m)
			return nil
		})
	}
	_ = group.Wait() // finding fails at nothing
	return slices.Concat(found...)
}

func (f *File) isLink() bool { return f.Link != "" || f.Mode&modeType == modeLink }

var fileEscapes = Check{
	ID:       "file-escapes",
	Severity: Error,
	Why:      "In the image, a link out of its module leads to nothing, or to something that no commit says.",
	Find: func(in *Input) (found []Finding) {
		in.eachFile(func(m *Module, f *File) {
			if !f.isLink() {
				return
			}
			target := path.Join(path.Dir(f.Path), f.Link)
			if path.IsAbs(f.Link) || f.Link == "" || !within(m.Folder, target) {
				found = append(found, m.at(f.Path, 0, "replace the link by a copy", "it is a link to %q, outside of its module", f.Link))
			}
		})
		return found
	},
}

var fileSpecial = Check{
	ID:       "file-special",
	Severity: Error,
	Why:      "Devices, sockets and pipes have no place in a module, and cannot get into an image.",
	Find: func(in *Input) (found []Finding) {
		in.eachFile(func(m *Module, f *File) {
			switch f.Mode & modeType {
			case 0, modeRegular, modeFolder, modeLink:
			default:
				found = append(found, m.at(f.Path, 0, "remove it", "it is no file, folder or link, but a device, socket or pipe"))
			}
		})
		return found
	},
}

var fileSetuid = Check{
	ID:       "file-setuid",
	Severity: Error,
	Why:      "Such a program runs with its owner's rights, whoever starts it.",
	Find: func(in *Input) (found []Finding) {
		in.eachFile(func(m *Module, f *File) {
			if f.isLink() || f.Mode&modeType == modeFolder || f.Mode&(modeSetuid|modeSetgid) == 0 {
				return
			}
			found = append(found, m.at(f.Path, 0, "chmod u-s,g-s", "it is setuid or setgid (mode %04o)", f.Mode&0o7777))
		})
		return found
	},
}

var fileWorldWritable = Check{
	ID:       "file-world-writable",
	Severity: Warning,
	Why:      "Any process on the machine that holds the source can change what will be released.",
	Find: func(in *Input) (found []Finding) {
		in.eachFile(func(m *Module, f *File) {
			if !f.isLink() && f.Mode&modeOthers != 0 {
				found = append(found, m.at(f.Path, 0, "chmod o-w", "everybody may write it (mode %04o)", f.Mode&0o7777))
			}
		})
		return found
	},
}

var fileName = Check{
	ID:       "file-name",
	Severity: Error,
	Why:      "A name that is not UTF-8, or holds control characters, is read differently from system to system.",
	Find: func(in *Input) (found []Finding) {
		in.eachFile(func(m *Module, f *File) {
			switch {
			case !utf8.ValidString(f.Path):
				// JSON and terminals could not show it as it is.
				shown := strings.ToValidUTF8(f.Path, "\ufffd")
				found = append(found, m.at(shown, 0, "rename it", "the name %+q is not UTF-8", path.Base(f.Path)))
			case strings.ContainsFunc(f.Path, unicode.IsControl):
				shown := strings.Map(func(r rune) rune {
					if unicode.IsControl(r) {
						return '\ufffd'
					}
					return r
				}, f.Path)
				found = append(found, m.at(shown, 0, "rename it", "the name %+q holds control characters", path.Base(f.Path)))
			}
		})
		return found
	},
}
