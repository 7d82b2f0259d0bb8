package isolation

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/waybill-dev/waybill/internal/bridge"
)

// The limits of one run. What does not fit has its turn in the next ones: each begins where the one before left off.
const (
	maxPools   = 50
	maxTargets = 25 // of each kind, for each pool
)

// planned is an attempt before it is made.
type planned struct {
	Attempt
	inside  *bridge.IsolationAttempt // in the pool's process, or …
	request *request                 // … over HTTP
}

// plan is what is tried from one pool.
type plan struct {
	pool    Pool
	own     Tenant // in whose name it is tried
	planned []planned
	left    int
}

// plans says what is tried in a run, and how many attempts are left to later ones. turn counts runs.
func (w World) plans(turn int) (list []plan, left int) {
	var pools []Pool
	for _, p := range w.Pools {
		if p.Environment == w.Environment && slices.ContainsFunc(w.Tenants, func(t Tenant) bool { return t.Environment == p.Environment && slices.Contains(t.Serves, p.Name) }) {
			pools = append(pools, p)
		}
	}
	chosen, skipped := turnOf(pools, maxPools, turn)
	left += len(skipped)
	for _, p := range chosen {
		made := w.plan(p, turn)
		left += made.left
		list = append(list, made)
	}
	return list, left
}

// turnOf takes at most n of a list, others each turn.
func turnOf[T any](list []T, n, turn int) (chosen, left []T) {
	if len(list) <= n {
		return list, nil
	}
	start := turn * n % len(list)
	rotated := slices.Concat(list[start:], list[:start])
	return rotated[:n], rotated[n:]
}

// plan is what is tried from a pool.
func (w World) plan(p Pool, turn int) plan {
	made := plan{pool: p}
	for _, t := range w.Tenants { // one that nobody moves, if there is any
		if t.Environment == p.Environment && slices.Contains(t.Serves, p.Name) && slices.Contains(t.May, p.Name) && (made.own.Name == "" || t.Still && !made.own.Still) {
			made.own = t
		}
	}
	if made.own.Name == "" {
		made.add(planned{Attempt: Attempt{Door: bridge.DoorConnect, Target: "a tenant of its own", Control: true, Outcome: bridge.Unknown,
			Detail: "the pool may connect to none of its tenants' databases just now"}})
		return made
	}
	own := made.own
	control := func(door, target string, a bridge.IsolationAttempt) {
		a.Door = door
		made.add(planned{Attempt: Attempt{Door: door, Target: target, Tenant: own.String(), Control: true}, inside: &a})
	}
	inside := func(door, target, tenant string, a bridge.IsolationAttempt) planned {
		a.Door = door
		return planned{Attempt: Attempt{Door: door, Target: target, Tenant: tenant}, inside: &a}
	}
	some := func(all []planned) {
		chosen, left := turnOf(all, maxTargets, turn)
		made.planned, made.left = append(made.planned, chosen...), made.left+len(left)
	}

	// Databases of the same server.
	control(bridge.DoorConnect, "its own database "+own.Database, bridge.IsolationAttempt{Target: own.Database})
	control(bridge.DoorCursor, "its own database "+own.Database, bridge.IsolationAttempt{Target: own.Database})
	var connects, cursors, registries []planned
	tenantOf := map[string]Tenant{}
	for _, t := range w.Tenants {
		if t.Server == p.Server {
			tenantOf[t.Database] = t
		}
	}
	for _, name := range w.Databases[p.Server] {
		if name == own.Database {
			continue
		}
		t, known := tenantOf[name]
		whose, tenant := "database "+name+", no tenant's", ""
		if known {
			whose, tenant = "database "+name+" of "+t.String(), t.String()
		}
		if !known || !p.owns(t) {
			connects = append(connects, inside(bridge.DoorConnect, whose, tenant, bridge.IsolationAttempt{Target: name}))
		}
		cursors = append(cursors, inside(bridge.DoorCursor, whose, tenant, bridge.IsolationAttempt{Target: name}))
		if known {
			registries = append(registries, inside(bridge.DoorRegistry, whose, tenant, bridge.IsolationAttempt{Target: name}))
		}
	}
	some(connects)
	some(cursors)
	if len(registries) > 0 {
		control(bridge.DoorRegistry, "its own database "+own.Database, bridge.IsolationAttempt{Target: own.Database})
		some(registries)
	}

	// Logins and owners of the same server.
	control(bridge.DoorRole, "its own owner "+p.Owner, bridge.IsolationAttempt{Target: p.Owner})
	var logins, owners []planned
	seen := map[string]bool{p.Owner: true, p.Login: true}
	if admin := w.Admins[p.Server]; admin != "" && !seen[admin] {
		seen[admin] = true
		logins = append(logins, inside(bridge.DoorLogin, "the administrator "+admin, "", bridge.IsolationAttempt{Target: admin}))
		owners = append(owners, inside(bridge.DoorRole, "the administrator "+admin, "", bridge.IsolationAttempt{Target: admin}))
	}
	for _, other := range w.Pools {
		if other.Server != p.Server {
			continue
		}
		if !seen[other.Login] {
			seen[other.Login] = true
			logins = append(logins, inside(bridge.DoorLogin, "the login "+other.Login+" of pool "+other.String(), "", bridge.IsolationAttempt{Target: other.Login}))
		}
		if !seen[other.Owner] {
			seen[other.Owner] = true
			owners = append(owners, inside(bridge.DoorRole, "the owner "+other.Owner, "", bridge.IsolationAttempt{Target: other.Owner}))
		}
	}
	some(logins)
	some(owners)

	// Files.
	control(bridge.DoorFilestore, "its own files", bridge.IsolationAttempt{Target: own.Database})
	var files, folders []planned
	for _, t := range w.Tenants {
		if !p.near(t) {
			files = append(files, inside(bridge.DoorFilestore, "the files of "+t.String(), t.String(), bridge.IsolationAttempt{Target: t.Database, Prefix: t.Environment + "/" + t.Group + "/"}))
		}
	}
	some(files)
	control(bridge.DoorFolder, "its own configuration", bridge.IsolationAttempt{Target: bridge.ConfigDir})
	for _, path := range w.Secret {
		folders = append(folders, inside(bridge.DoorFolder, path, "", bridge.IsolationAttempt{Target: path}))
	}
	for group, path := range w.Folders {
		if group != p.Environment+"/"+p.Group {
			folders = append(folders, inside(bridge.DoorFolder, path, "", bridge.IsolationAttempt{Target: path}))
		}
	}
	slices.SortFunc(folders, func(a, b planned) int { return strings.Compare(a.Target, b.Target) })
	some(folders)

	// The network. Pools of one group share theirs.
	if host, port, ok := address(p.Base); ok {
		control(bridge.DoorTCP, "its own address", bridge.IsolationAttempt{Host: host, Port: port})
		control(bridge.DoorHTTP, "its own health page", bridge.IsolationAttempt{Host: host, Port: port, Target: "/web/health"})
	}
	var addresses []planned
	for _, other := range w.Pools {
		if other.Environment == p.Environment && other.Group == p.Group {
			continue
		}
		if host, port, ok := address(other.Base); ok {
			one := inside(bridge.DoorTCP, "pool "+other.String(), "", bridge.IsolationAttempt{Host: host, Port: port})
			addresses = append(addresses, one)
		}
	}
	some(addresses)
	var pages []planned
	for _, page := range w.Pages {
		pages = append(pages, inside(bridge.DoorHTTP, "Waybill's "+page, "", bridge.IsolationAttempt{Host: bridge.Gateway, Port: w.Port, TLS: w.TLS, Target: page}))
	}
	some(pages)

	for i := range made.planned {
		made.planned[i].Pool = p.String()
	}
	requests, left := w.requests(p, own, turn)
	made.planned, made.left = append(made.planned, requests...), made.left+left
	return made
}

func (p *plan) add(one planned) {
	one.Pool = p.pool.String()
	p.planned = append(p.planned, one)
}

// address is the host and port of a base URL.
func address(base string) (host string, port int, ok bool) {
	u, err := url.Parse(base)
	if err != nil || u.Port() == "" {
		return "", 0, false
	}
	port, err = strconv.Atoi(u.Port())
	return u.Hostname(), port, err == nil
}
