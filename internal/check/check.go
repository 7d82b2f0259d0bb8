// Package check validates what a release would hold before anybody promotes it: Odoo's modules as
// Odoo would load them, and the files as they would lie in the image. Each check is a pure
// function over an Input that somebody gathered before; none runs code of the modules.
package check

import (
	"time"

	"github.com/waybill-dev/waybill/internal/odoo"
	"github.com/waybill-dev/waybill/internal/release"
)

// Severity says what a finding means for a release.
type Severity string

// The severities. An error refuses the release, a warning and a note only stand in its report.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
	Note    Severity = "note"
	Off     Severity = "off" // only as a level in the estate: the check is not run
)

// Finding is one fault that a check found, at one place.
type Finding struct {
	Check    string   `json:"check"` // ID of the check
	Severity Severity `json:"severity"`
	Module   string   `json:"module,omitempty"`
	File     string   `json:"file,omitempty"`     // relative to the source's root, with slashes
	Line     int      `json:"line,omitempty"`     // from 1; 0 where the file as a whole is meant
	Message  string   `json:"message"`            // what is wrong, one line, naming the thing
	Fix      string   `json:"fix"`                // what to do
	Accepted string   `json:"accepted,omitempty"` // the reason of the exception that lets it pass
}

// Check is one rule.
type Check struct {
	ID       string                 // lower case with dashes; stable: estates name it
	Severity Severity               // where the estate says nothing else
	Why      string                 // one line: what happens to those who ignore it
	Needs    Needs                  // what the check goes by; where the Input lacks it, it says less or nothing
	Find     func(*Input) []Finding // severity and ID may be left out: Run fills them in
}

// Needs are parts of an Input that are not always at hand.
type Needs struct {
	Base    bool // Input.Base
	Python  bool // File.Python of the .py files
	Running bool // Input.Running
}

// Input is everything that checks look at. It does not change while they run.
type Input struct {
	Series  odoo.SeriesInfo
	Modules []*Module        // the product's addons, sorted by folder; a name may occur twice
	Base    *Base            // nil where no base is at hand: checks that need it say nothing, and the report names them
	Running []RunningRelease // what runs now, the newest first; for versions and contents that changed
	Now     time.Time        // for dates that expire
	Unread  []NotChecked     // what could not be looked at; it stands in the report

	data dataIndex // what several checks read from the data files, made once
}

// RunningRelease is a release that serves an environment now.
type RunningRelease struct {
	Environment string
	Release     release.Release
}

// Module is one addon as it lies in the source.
type Module struct {
	Name        string // of its folder
	Folder      string // relative to the source's root
	Manifest    *odoo.Manifest
	ManifestErr error   // why there is no Manifest; *odoo.SyntaxError where it has a place
	Version     string  // adapted to the series; empty where there is none
	Checksum    string  // as release.Module has it
	Files       []*File // all of them, sorted by path, links and specials included
}

// File is one file of a module.
type File struct {
	Path    string // relative to the source's root, with slashes, as bytes of the file system
	Mode    uint32 // as in syscall.Stat_t.Mode: type and permission bits
	Size    int64
	Link    string  // where a symbolic link leads, as written
	Content []byte  // nil for links, specials, and files above the limit or that nothing reads
	Python  *Python // for .py files, where an interpreter was at hand
}

// Python is what the base's own interpreter parsed from a source file, without running it.
type Python struct {
	SyntaxError string // message; empty: it compiles
	Line        int    // of the syntax error
	Models      []PythonModel
	Functions   []PythonFunction // of the module's top level
	Commits     []int            // lines that call commit() or rollback() on a cursor (cr, _cr, self.env.cr …)
	Imports     []PythonImport
	Names       []string // bound at the module's top level by an import or an assignment ("migrate")
}

// PythonModel is a class that derives from models.Model, TransientModel or AbstractModel.
type PythonModel struct {
	Class   string // Python's name of it; Odoo makes a model's name from it where there is no other
	Kind    string // "Model", "TransientModel", "AbstractModel", "BaseModel"
	Name    string // _name; empty where only inherited
	Inherit []string
	Line    int
	Dynamic bool // _name or _inherit is computed: not known
}

// PythonFunction is a function of a module's top level.
type PythonFunction struct {
	Name string
	Args []string // positional parameters by name
	Line int
	End  int // last line of its body; 0: not known

	Decorated bool // a decorator may change the arguments that its caller gives
}

// PythonImport is one imported top-level name.
type PythonImport struct {
	Name     string // "zeep"
	Line     int
	Optional bool // inside try … except ImportError, or inside a function
}

// Base is what checks need to know of the image below.
type Base struct {
	Digest      string
	Modules     []release.Module
	ExternalIDs Names             // "module.name" of every record the base's modules define in their data
	DemoIDs     Names             // likewise of what only their demo data defines: not there in production
	Models      map[string]bool   // technical names, "sale.order"
	Python      map[string]string // installed distributions by normalised name, and their version
	PythonNames map[string]bool   // importable top-level names, the standard library's included
	Binaries    map[string]bool   // names found on the PATH
}
