package estate

// Resources are what each process of a pool may take: that for requests, that for WebSockets and the one for scheduled actions. What is not
// said is not limited.
type Resources struct {
	MemoryGiB float64 `yaml:"memory_gib" json:"memory_gib,omitempty"` // of each process with its workers; beyond it the largest worker is killed, and another one takes its place
	CPUs      float64 `yaml:"cpus" json:"cpus,omitempty"`             // that each process may use at once
}

var (
	memorySpan = span[float64]{0.25, 1024} // below that Odoo does not start
	cpusSpan   = span[float64]{0.1, 1024}
)

// ResourcesOf are those of an environment, in bytes and CPUs; 0: not limited.
func (e Environment) ResourcesOf() (memory int64, cpus float64) {
	if e.Resources == nil {
		return 0, 0
	}
	return int64(e.Resources.MemoryGiB * (1 << 30)), e.Resources.CPUs
}

func (d *document) resources(r *Resources) {
	if r == nil {
		return
	}
	within(d, "resources.memory_gib", r.MemoryGiB, memorySpan, "leave it out for no limit")
	within(d, "resources.cpus", r.CPUs, cpusSpan, "leave it out for no limit")
}
