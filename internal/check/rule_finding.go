package check

import (
	"bytes"
	"fmt"
	"path"
)

// at makes a finding in a module's file. The line may be 0.
func (m *Module) at(file string, line int, fix, format string, args ...any) Finding {
	return Finding{Module: m.Name, File: file, Line: line, Message: fmt.Sprintf(format, args...), Fix: fix}
}

// inManifest makes a finding at what a key of the manifest says.
func (m *Module) inManifest(in *Input, key, text, fix, format string, args ...any) Finding {
	f := m.manifestFile(in)
	if f == nil {
		return m.at(m.Folder, 0, fix, format, args...)
	}
	line := 1
	if m.Manifest != nil {
		line = m.Manifest.Line(key)
		if text != "" {
			line = lineAfter(f.Content, line, text)
		}
	}
	return m.at(f.Path, line, fix, format, args...)
}

// manifestFile is nil where there is none.
func (m *Module) manifestFile(in *Input) *File {
	for _, name := range in.Series.ManifestNames {
		if f := in.index().files[path.Join(m.Folder, name)]; f != nil {
			return f
		}
	}
	return nil
}

// lineAfter is the line of the first quoted text from a line on; that line where there is none.
func lineAfter(content []byte, line int, text string) int {
	rest := content
	for range line - 1 {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			return line
		}
		rest = rest[i+1:]
	}
	for _, quote := range []string{"'", "\""} {
		if i := bytes.Index(rest, []byte(quote+text+quote)); i >= 0 {
			return line + bytes.Count(rest[:i], []byte("\n"))
		}
	}
	return line
}

func (p place) finding(m *Module, fix, format string, args ...any) Finding {
	return m.at(p.file.path, p.line, fix, format, args...)
}
