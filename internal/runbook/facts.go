package runbook

import "time"

// Facts are what is so now.
type Facts struct {
	Now          time.Time
	Installation Installation
	Environment  Environment
	Tenant       Tenant
}

// Installation is the Waybill that looks after all of it.
type Installation struct {
	Data         string // folder
	Estate       string // folder
	Remote       string // repository of the estate, without a password; empty: the folder alone
	Commit       string // of the estate
	Embedded     bool   // `waybill up`: state, registry and bucket are in the data folder
	Bucket       string // URL, without a password
	BucketHere   bool   // it is a folder of this machine, which another one may hold
	Key          string // file of the identity that opens checkpoints
	OfflineKey   string // file of the offline key, where it is still on this machine
	RegistryHere bool   // images are in the data folder
	Version      string
}

// Environment is where the tenants are.
type Environment struct {
	Name    string
	File    string // where it is declared
	Server  Server
	Before  string // environment that a release passes first; empty: none
	People  []Person
	Targets []Target
	Tenants []Tenant
}

// Server is the PostgreSQL server of the environment's tenants.
type Server struct {
	Embedded bool   // the one that `waybill up` runs, which no person logs in to
	Address  string // host:port or socket folder
	URL      string // as the estate names it; empty: the embedded one
	Password string // the reference that the estate gives, never the password
}

// Person is somebody who may act in the environment.
type Person struct {
	Name   string
	Emails []string
	Roles  []string
}

// Target is a place where people are told.
type Target struct {
	Name   string
	To     []string // mail alone
	Events []string // empty: all
}

// Release is one by name, with what tells it from others of that name.
type Release struct {
	Name   string
	Digest string
	Commit string // that it was built from
	Source string // repository of that commit
}

// Known says whether there is one at all.
func (r Release) Known() bool { return r.Digest != "" }

// Tenant is one of them.
type Tenant struct {
	Name     string
	Hosts    []string
	Database string
	Owner    string // role that the database belongs to
	Folder   string // of its filestore, or the URL of a bucket with its prefix
	Hosting  string // shared or dedicated
	With     int    // tenants that share its pool, itself left out
	Ring     string
	Labels   map[string]string
	Serving  Release
	Schema   Release
	Pool     string
	Leaving  time.Time // it was deleted, and its data goes then; zero: it was not
	Mode     string    // open, hold, freeze; empty: nothing serves
	Busy     string    // promotion that it takes part in now
	Size     int64     // of the database in bytes; 0: it does not answer
	Why      string    // why not

	Last   *Promotion // the one that brought what serves; nil: not known
	Points []Point    // newest first
	Took   *Measured  // nil: nobody has ever restored it
}

// Promotion is one that can be taken back.
type Promotion struct {
	ID         string
	Release    string
	Before     Release // what served before
	Breaking   bool    // only a restore leads back
	Checkpoint string  // that it leads back to
	Released   time.Time
	Ended      time.Time
	Tenants    []string // all that it moved
}

// Point is a recovery point.
type Point struct {
	ID       string
	At       time.Time
	Verified time.Time // read back; zero: never
	Bytes    int64     // of database dump and filestore, plain; 0: not read
	Release  Release   // that its schema belongs to
}

// Measured is how long a restore took.
type Measured struct {
	Seconds float64
	At      time.Time
	By      string // a rehearsal, a restore
}
