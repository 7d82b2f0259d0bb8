package router

import "bytes"

// routes is a table in the form that requests read. It never changes once it is in force.
type routes struct {
	table   Table
	encoded []byte // canonical JSON of the table, to tell a repetition
	hosts   map[string]*route
	names   map[string]*route
	changed chan struct{} // closed when another table has taken its place
}

type route struct {
	Tenant
	tenant *tenant
	stable *pool
	canary *pool
}

func (r *routes) same(encoded []byte) bool { return bytes.Equal(r.encoded, encoded) }

// pick returns where a bucket goes.
func (r *route) pick(bucket int) (*pool, *Upstream) {
	if r.Canary != nil && bucket < r.Weight {
		return r.canary, r.Canary
	}
	return r.stable, &r.Stable
}

// routed tells whether a pool gets any new request.
func (r *route) routed(p *pool) bool {
	return r.Mode == Open && (p == r.canary && r.Weight > 0 || p == r.stable && (r.Weight < buckets || r.Canary == nil))
}

// addressFor is the upstream's address for a path.
func (u *Upstream) addressFor(path string) string {
	if u.Websocket != "" && forWebsocket(path) {
		return u.Websocket
	}
	return u.Web
}
