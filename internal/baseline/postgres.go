package baseline

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Postgres is what was gathered of a PostgreSQL server, and what is asked of it.
type Postgres struct {
	Version   int               // server_version_num
	Settings  map[string]string // as pg_settings has them, in their base units
	Overrides []Override        // ALTER ROLE … SET and ALTER DATABASE … SET
	Replica   bool              // it is in recovery
	Archiver  Archiver
	Pooler    Pooler
	Demand    int       // connections that the pools of its environments may open, each release counted once
	Own       bool      // Waybill started it: its settings are Waybill's, and no archive is promised
	Now       time.Time // of the look
}

// Override is a setting that holds for some sessions only.
type Override struct{ Database, Role, Name, Value string }

// Archiver is what pg_stat_archiver says.
type Archiver struct{ LastArchived, LastFailed time.Time }

// Pooler is what stands between this machine and the server.
type Pooler string

// The kinds of pooler.
const (
	Direct        Pooler = ""              // none
	SessionPooler Pooler = "session"       // one server connection for as long as a client's lasts, as far as was seen
	SharingPooler Pooler = "transactional" // another client is given the server connection between two transactions
)

// Of returns the server's deviations.
func (p Postgres) Of() []Deviation {
	return evaluate(p, []check[Postgres]{
		poolerShares, isReplica, durability, supported, connections, reserved, locks, timeouts, checksums, autovacuum, archive, archiving,
	})
}

// Odoo keeps state in its sessions (SET, LISTEN, advisory locks, temporary tables), and Waybill's fence ends them by their role.
func poolerShares(p Postgres) *Deviation {
	if p.Pooler != SharingPooler {
		return nil
	}
	return &Deviation{
		Name: "pooler", Is: "a pooler gives one server connection to several clients in turn (PgBouncer: pool_mode = transaction or statement)",
		Risk: "Odoo loses LISTEN, locks and settings of its sessions: messages that do not arrive, updates that are not alone; and a fence cannot tell whose session it ends",
		Fix:  "pool_mode = session in pgbouncer.ini for these databases, or name the server itself in database.url",
	}
}

func isReplica(p Postgres) *Deviation {
	if !p.Replica {
		return nil
	}
	return &Deviation{Name: "role", Is: "the server is a replica", Risk: "nothing can be written", Fix: "name the primary in database.url"}
}

// An order that was acknowledged must be there after the power went.
func durability(p Postgres) *Deviation {
	var off []string
	for _, name := range []string{"fsync", "full_page_writes", "synchronous_commit"} {
		if p.Settings[name] == "off" {
			off = append(off, name+" is off")
		}
	}
	for _, o := range p.Overrides {
		if o.Name == "synchronous_commit" && o.Value == "off" {
			off = append(off, "synchronous_commit is off"+o.of())
		}
	}
	if len(off) == 0 {
		return nil
	}
	return &Deviation{Name: "durability", Is: strings.Join(off, ", "), Risk: "orders that were acknowledged are lost, or the whole database, when the machine fails", Fix: "set them to on"}
}

// ends are when the PostgreSQL project ends its fixes: https://www.postgresql.org/support/versioning/
var ends = map[int]time.Time{
	13: time.Date(2025, 11, 13, 0, 0, 0, 0, time.UTC), 14: time.Date(2026, 11, 12, 0, 0, 0, 0, time.UTC),
	15: time.Date(2027, 11, 11, 0, 0, 0, 0, time.UTC), 16: time.Date(2028, 11, 9, 0, 0, 0, 0, time.UTC),
	17: time.Date(2029, 11, 8, 0, 0, 0, 0, time.UTC), 18: time.Date(2030, 11, 14, 0, 0, 0, 0, time.UTC),
}

func supported(p Postgres) *Deviation {
	major := p.Version / 10000
	end, known := ends[major]
	if major > 18 || known && p.Now.Before(end) {
		return nil
	}
	return &Deviation{Name: "version", Advice: true, Is: fmt.Sprintf("PostgreSQL %d gets no fixes any more", major), Risk: "holes and errors that are known stay", Fix: "move to a newer major version"}
}

// While a release is rolled out two pools of each group run.
func connections(p Postgres) *Deviation {
	most, set := p.number("max_connections")
	if !set || p.Demand == 0 {
		return nil
	}
	free := most - p.sum("superuser_reserved_connections", "reserved_connections")
	d := &Deviation{Name: "max_connections", Fix: fmt.Sprintf("max_connections = %d, or a lower db_maxconn or fewer workers in the estate", 2*p.Demand+most-free+10)}
	switch {
	case p.Demand > free:
		d.Is = fmt.Sprintf("%d, of which %d are free for pools that may open %d", most, free, p.Demand)
		d.Risk = "under load requests fail with \"too many clients\""
	case 2*p.Demand > free:
		d.Advice = true
		d.Is = fmt.Sprintf("%d, of which %d are free; the pools may open %d, and twice that while a release is rolled out", most, free, p.Demand)
		d.Risk = "under full load a canary takes connections from the pool beside it"
	default:
		return nil
	}
	return d
}

func reserved(p Postgres) *Deviation {
	kept, set := p.number("superuser_reserved_connections")
	if !set || kept >= 3 {
		return nil
	}
	return &Deviation{Name: "superuser_reserved_connections", Is: strconv.Itoa(kept), Risk: "when the pools have taken all connections, Waybill does not get in to fence them", Fix: "superuser_reserved_connections = 10"}
}

// One update holds a lock on each table and index that it touched until it commits; a dump holds one on each table.
func locks(p Postgres) *Deviation {
	each, set := p.number("max_locks_per_transaction")
	most, _ := p.number("max_connections")
	const enough = 20_000 // Odoo with a hundred modules has some 5,000 tables and indexes; others run beside it
	if !set || each*most >= enough {
		return nil
	}
	return &Deviation{
		Name: "max_locks_per_transaction", Advice: true, Is: fmt.Sprintf("%d, which makes room for %d locks in all", each, each*most),
		Risk: "an update in one transaction, or a dump, of a database with many modules ends with \"out of shared memory\" and changes nothing", Fix: "max_locks_per_transaction = 512",
	}
}

// fatal are the timeouts that end what a release does: an update is one transaction of minutes, which waits between statements.
var fatal = []struct{ name, risk string }{
	{"statement_timeout", "a statement of an update or of a long report is ended"},
	{"transaction_timeout", "an update in one transaction is ended half-way, and begins again"},
	{"idle_in_transaction_session_timeout", "an update is ended while it computes between two statements"},
	{"lock_timeout", "an update that waits for a lock is ended"},
	{"idle_session_timeout", "connections that Odoo keeps are cut, and requests on them fail"},
}

func timeouts(p Postgres) *Deviation {
	var is, risks []string
	fix := ""
	for _, t := range fatal {
		if ms, set := p.number(t.name); set && ms > 0 {
			is, risks = append(is, fmt.Sprintf("%s is %s", t.name, time.Duration(ms)*time.Millisecond)), append(risks, t.risk)
			fix = cmp.Or(fix, t.name+" = 0 for the pools' roles and databases; other applications may have theirs by ALTER ROLE … SET")
		}
		for _, o := range p.Overrides {
			if o.Name == t.name && o.Value != "0" {
				is, risks = append(is, fmt.Sprintf("%s is %s%s", t.name, o.Value, o.of())), append(risks, t.risk)
				fix = cmp.Or(fix, o.reset())
			}
		}
	}
	if len(is) == 0 {
		return nil
	}
	return &Deviation{Name: "timeouts", Is: strings.Join(is, ", "), Risk: strings.Join(slices.Compact(risks), "; "), Fix: fix}
}

func checksums(p Postgres) *Deviation {
	if p.Settings["data_checksums"] != "off" {
		return nil
	}
	return &Deviation{Name: "data checksums", Advice: true, Is: "off", Risk: "a page that the disk spoiled is not noticed, and gets into every checkpoint", Fix: "stop the server and run: pg_checksums --enable"}
}

func autovacuum(p Postgres) *Deviation {
	if p.Settings["autovacuum"] != "off" && p.Settings["track_counts"] != "off" {
		return nil
	}
	return &Deviation{Name: "autovacuum", Is: "off", Risk: "tables grow, plans go wrong, and in the end the server refuses to write", Fix: "autovacuum = on, track_counts = on"}
}

func archive(p Postgres) *Deviation {
	if p.Own || p.Settings["archive_mode"] != "off" && p.Settings["wal_level"] != "minimal" {
		return nil
	}
	return &Deviation{
		Name: "archive", Advice: true, Is: fmt.Sprintf("archive_mode is %s, wal_level is %s", p.Settings["archive_mode"], p.Settings["wal_level"]),
		Risk: "when the server's disk is lost, all since the last checkpoint is: no point in time can be restored", Fix: "archive_mode = on with an archive_command (pgBackRest), wal_level = replica; unless something else keeps the WAL (pg_receivewal)",
	}
}

// An archive command that fails keeps WAL until the disk is full.
func archiving(p Postgres) *Deviation {
	if !p.Archiver.LastFailed.After(p.Archiver.LastArchived) {
		return nil
	}
	return &Deviation{Name: "archiving", Is: "archiving WAL failed last at " + p.Archiver.LastFailed.UTC().Format(time.RFC3339), Risk: "WAL piles up until the disk is full; what was not archived cannot be restored", Fix: "see the server's log for archive_command"}
}

// number is a setting that is a number.
func (p Postgres) number(name string) (int, bool) {
	n, err := strconv.Atoi(p.Settings[name])
	return n, err == nil
}

func (p Postgres) sum(names ...string) (n int) {
	for _, name := range names {
		v, _ := p.number(name)
		n += v
	}
	return n
}

func (o Override) of() string {
	switch {
	case o.Database != "" && o.Role != "":
		return fmt.Sprintf(" for role %s in database %s", o.Role, o.Database)
	case o.Role != "":
		return " for role " + o.Role
	}
	return " in database " + o.Database
}

func (o Override) reset() string {
	switch {
	case o.Database != "" && o.Role != "":
		return fmt.Sprintf("ALTER ROLE %q IN DATABASE %q RESET %s", o.Role, o.Database, o.Name)
	case o.Role != "":
		return fmt.Sprintf("ALTER ROLE %q RESET %s", o.Role, o.Name)
	}
	return fmt.Sprintf("ALTER DATABASE %q RESET %s", o.Database, o.Name)
}
