package checkpoint

import (
	"fmt"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/database"
	"github.com/waybill-dev/waybill/internal/filestore"
)

// Ref names one checkpoint in a store.
type Ref struct {
	Environment string
	Tenant      string
	ID          string
}

// String is environment/tenant/id, what ParseRef reads.
func (r Ref) String() string { return r.Environment + "/" + r.Tenant + "/" + r.ID }

// ParseRef reads environment/tenant/id.
func ParseRef(text string) (Ref, error) {
	parts := strings.Split(text, "/")
	if len(parts) != 3 {
		return Ref{}, fmt.Errorf("checkpoint %q: expected environment/tenant/id", text)
	}
	r := Ref{parts[0], parts[1], parts[2]}
	return r, r.check()
}

// Progress says how far a capture, a verification or a restore is.
type Progress struct {
	Stage string // dump, upload, filestore, manifest; read, files; download, restore, compare, analyze
	Done  int64  // files, tables or objects of this stage; of restore, entries of the dump
	Total int64  // 0 where not known beforehand
}

// Subject is what a checkpoint is taken of.
type Subject struct {
	ID          string // of the checkpoint to make, see NewID; the same again continues after a kill. Empty: a new one
	Environment string
	Tenant      string
	Database    string
	AdminURL    string          // of the tenants' server, as superuser or owner; the password may be in it: never logged, never in argv
	Filestore   filestore.Store // nil: there are none
	Config      Config
}

// Config is the configuration at the recovery point.
type Config struct {
	EstateCommit  string            `json:"estate_commit"`
	Release       string            `json:"release"`  // digest that the schema belongs to
	Serving       string            `json:"serving"`  // digest that the route goes to
	Image         string            `json:"image"`    // repository of the digest
	Owner         string            `json:"owner"`    // owner role of the database
	Roles         []string          `json:"roles"`    // login roles, without passwords
	Settings      map[string]string `json:"settings"` // odoo.conf options, without secrets
	Hosts         []string          `json:"hosts"`
	WaybillBinary string            `json:"waybill_version"`
}

// Manifest describes one checkpoint. It is stored encrypted; Info is its public part.
type Manifest struct {
	Info
	Config        Config           `json:"config"`
	ServerVersion string           `json:"server_version"` // of PostgreSQL
	LSN           string           `json:"lsn"`
	Tables        map[string]int64 `json:"tables"`            // rows by table, in the dump's own snapshot
	Dump          []Object         `json:"dump"`              // files of the directory-format dump
	Files         []File           `json:"files"`             // filestore
	Missing       []string         `json:"missing"`           // store_fname values that the database names and the folder lacks
	Damaged       []string         `json:"damaged,omitempty"` // store_fname values whose file is not what its name says; not copied
	Locale        database.Locale  `json:"locale"`
	Parameters    []Parameter      `json:"parameters,omitempty"` // ALTER DATABASE … SET, which a dump leaves out
	Extensions    []string         `json:"extensions,omitempty"`
}

// Info is what a list shows.
type Info struct {
	ID            string    `json:"id"` // sorts by time
	Environment   string    `json:"environment"`
	Tenant        string    `json:"tenant"`
	Database      string    `json:"database"`
	Release       string    `json:"release"`
	RecoveryPoint time.Time `json:"recovery_point"`
	Seconds       float64   `json:"seconds"`
	Bytes         int64     `json:"bytes"`     // stored for this checkpoint alone: dump and new files
	NewFiles      int       `json:"new_files"` // copied now
	FileCount     int       `json:"file_count"`
	Verified      time.Time `json:"verified,omitzero"`
}

// Ref names the checkpoint.
func (i Info) Ref() Ref { return Ref{i.Environment, i.Tenant, i.ID} }

// Parameter is one setting of a database.
type Parameter struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Object is one stored file of the dump.
type Object struct {
	Name   string `json:"name"`
	Key    string `json:"key"` // in the bucket
	Size   int64  `json:"size"`
	BLAKE3 string `json:"blake3"` // of the plain content
}

// File is one file of the filestore; its name is the SHA-1 of its content.
type File struct {
	Name string `json:"name"` // ab/abcdef…
	Size int64  `json:"size"`
}

// Target is where a checkpoint is restored to.
type Target struct {
	AdminURL  string
	Database  string          // new database; must not exist
	Owner     string          // role that shall own it; must exist
	Filestore filestore.Store // files are only ever added; nil: there must be none
	Jobs      int             // parallel pg_restore jobs; 0: number of cores
}

// Restored says what a restore did.
type Restored struct {
	Database   string
	Tables     int           // compared with the manifest
	Rows       int64         // in them
	FilesAdded int           // to the filestore
	FilesKept  int           // were there already
	Conflicts  []string      // files that are there with another size; left as they are
	Missing    []string      // files that the checkpoint itself lacks: Manifest.Missing and Damaged
	Warnings   []string      // grants to roles that this server does not have, and the like
	Duration   time.Duration // of the whole restore
}

// Policy says which checkpoints of a tenant to keep: those that either rule keeps, the newest one,
// and the newest verified one, always.
type Policy struct {
	Last int // so many of the newest
	Days int // all younger than so many days
}
