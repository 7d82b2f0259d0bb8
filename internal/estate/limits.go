package estate

// Limits are what one tenant may take of what it shares with others. What is not said is not limited.
type Limits struct {
	Connections int     `yaml:"connections" json:"connections,omitempty"` // to its database at a time, of all pools together; PostgreSQL refuses more, so leave room for two releases side by side
	StorageGiB  float64 `yaml:"storage_gib" json:"storage_gib,omitempty"` // of database and files together; at 80 % and beyond people are told, and nobody is stopped
}

var (
	connectionsSpan = span[int]{10, 100_000} // below that a pool of Odoo cannot work
	storageSpan     = span[float64]{0.1, 100_000}
)

// LimitsOf are a tenant's limits: its own, and the environment's where it does not say.
func (e Environment) LimitsOf(t Tenant) Limits {
	var l Limits
	for _, given := range []*Limits{e.Limits, t.Limits} {
		if given == nil {
			continue
		}
		if given.Connections > 0 {
			l.Connections = given.Connections
		}
		if given.StorageGiB > 0 {
			l.StorageGiB = given.StorageGiB
		}
	}
	return l
}

func (d *document) limits(l *Limits) {
	if l == nil {
		return
	}
	within(d, "limits.connections", l.Connections, connectionsSpan, "leave it out for no limit")
	within(d, "limits.storage_gib", l.StorageGiB, storageSpan, "leave it out for no limit")
}
