package isolation

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/bridge"
)

// odoo stands in for a pool: it keeps tenants apart, unless it is told to leak.
type odoo struct {
	t     *testing.T
	world *World
	pool  string // whose it is
	leak  string // a door that is open
	old   bool   // its bridge does not know the call
	noRPC bool   // it has no /jsonrpc

	mu       sync.Mutex
	sessions map[string]string // by ID: the database
	made     int
	ended    int
}

func (o *odoo) own() Tenant {
	i := slices.IndexFunc(o.world.Tenants, func(t Tenant) bool { return slices.Contains(t.Serves, o.pool) })
	return o.world.Tenants[i]
}

func (o *odoo) Isolation(_ context.Context, database string, attempts []bridge.IsolationAttempt) ([]bridge.IsolationResult, error) {
	if o.old {
		return nil, bridge.ErrRefused
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []bridge.IsolationResult
	for _, a := range attempts {
		own := a.Target == database || strings.HasPrefix(a.Target, "wb_production_"+o.own().Group) || a.Target == bridge.ConfigDir ||
			a.Door == bridge.DoorTCP && strings.HasSuffix(o.base(), ":"+itoa(a.Port)) || a.Door == bridge.DoorHTTP && a.Host != bridge.Gateway
		outcome := bridge.Refused
		if own || o.leak == a.Door {
			outcome = bridge.Reached
		}
		result := bridge.IsolationResult{Outcome: outcome, Detail: "as it is"}
		switch a.Door {
		case bridge.DoorSession:
			result = bridge.IsolationResult{Outcome: bridge.Reached, Detail: o.pool + "-" + itoa(o.made)}
			o.made++
			o.sessions[result.Detail] = database
		case bridge.DoorForget:
			o.ended++
		}
		all = append(all, result)
	}
	return all, nil
}

func itoa(n int) string {
	raw, _ := json.Marshal(n)
	return string(raw)
}

func (o *odoo) base() string {
	i := slices.IndexFunc(o.world.Pools, func(p Pool) bool { return p.Name == o.pool })
	return o.world.Pools[i].Base
}

func (o *odoo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host := r.Host
	if forwarded := r.Header.Get("X-Forwarded-Host"); forwarded != "" {
		host = forwarded
	}
	i := slices.IndexFunc(o.world.Tenants, func(t Tenant) bool {
		return slices.Contains(t.Hosts, host) && (slices.Contains(t.Serves, o.pool) || o.leak == DoorHost)
	})
	if r.URL.Path == "/web/health" {
		return
	}
	if r.URL.Path == status && r.Header.Get(bridge.SignatureHeader) != "" {
		_, _ = w.Write([]byte(`{"pool":"r1"}`))
		return
	}
	if i < 0 || r.URL.Path == status {
		http.NotFound(w, r)
		return
	}
	database := o.world.Tenants[i].Database
	if named := r.URL.Query().Get("db"); named != "" && o.leak == DoorDatabase {
		database = named
	}
	if named := r.Header.Get("X-Odoo-Database"); named != "" && named != database {
		if o.leak != DoorHeader {
			http.NotFound(w, r)
			return
		}
		database = named
	}
	if r.Header.Get(bridge.SignatureHeader) != "" {
		w.Header().Set(bridge.ServedHeader, database)
	}
	var asked struct {
		Params struct {
			Method string `json:"method"`
			Args   []any  `json:"args"`
		} `json:"params"`
	}
	_ = json.NewDecoder(r.Body).Decode(&asked)
	answer := map[string]any{"jsonrpc": "2.0", "id": 1, "result": nil}
	refuse := func() { answer["error"] = map[string]any{"message": "refused"} }
	switch r.URL.Path {
	case session:
		cookie, err := r.Cookie("session_id")
		if err != nil {
			refuse()
			break
		}
		o.mu.Lock()
		if of := o.sessions[cookie.Value]; of != database && o.leak != DoorSession {
			delete(o.sessions, cookie.Value) // as Odoo does
			refuse()
		}
		o.mu.Unlock()
	case jsonrpc:
		if o.noRPC {
			http.NotFound(w, r)
			return
		}
		foreign := asked.Params.Args[0] != database
		switch {
		case foreign && o.leak == DoorService:
			answer["result"] = true
		case foreign && asked.Params.Method != "db_exist":
			refuse()
		default:
			answer["result"] = false
		}
	case list:
		names := []string{database}
		if o.leak == DoorList {
			names = []string{database, "fern_production"}
		}
		answer["result"] = names
	}
	_ = json.NewEncoder(w).Encode(answer)
}

// live is the world with stand-ins for its pools, and a router that takes out of requests what it must unless it is told to leak.
func live(t *testing.T, leak string) (World, map[string]*odoo) {
	w := world()
	all := map[string]*odoo{}
	for i := range w.Pools {
		p := &w.Pools[i]
		o := &odoo{t: t, world: &w, pool: p.Name, leak: leak, sessions: map[string]string{}}
		server := httptest.NewServer(o)
		t.Cleanup(server.Close)
		p.Base, p.Prober = server.URL, o
		all[p.Name] = o
	}
	router := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		host := r.Host
		if leak != DoorForwarded {
			r.Header.Set("X-Forwarded-Host", host)
		}
		if leak != DoorSigned {
			r.Header.Del(bridge.SignatureHeader)
		}
		i := slices.IndexFunc(w.Tenants, func(t Tenant) bool { return slices.Contains(t.Hosts, host) })
		if i < 0 && leak == DoorNobody {
			return
		}
		if i < 0 {
			http.NotFound(rw, r)
			return
		}
		all[w.Tenants[i].Serves[0]].ServeHTTP(rw, r)
	}))
	t.Cleanup(router.Close)
	w.Router = strings.TrimPrefix(router.URL, "http://")
	return w, all
}

func run(t *testing.T, w World) Examination {
	t.Helper()
	r, err := Run(t.Context(), func(context.Context) (World, error) { return w, nil }, 0)
	require.NoError(t, err)
	return r
}

func TestRunPasses(t *testing.T) {
	w, all := live(t, "")
	r := run(t, w)
	require.Equal(t, Pass, r.Verdict, "%s\n%+v", r.Says, r.Findings)
	assert.Equal(t, []string{"production/r1", "production/fern-r1"}, r.Pools)
	assert.Len(t, r.Doors, len(Doors), "all doors were tried: %+v", r.Doors)
	for _, o := range []*odoo{all["r1"], all["fern-r1"]} {
		assert.Positive(t, o.ended, "sessions are ended")
	}
}

// TestEachOpenDoorIsFound: whatever door is left open, the run fails, and names it.
func TestEachOpenDoorIsFound(t *testing.T) {
	for _, door := range Doors {
		t.Run(door.Name, func(t *testing.T) {
			w, _ := live(t, door.Name)
			r := run(t, w)
			require.Equal(t, Fail, r.Verdict, "%s\n%+v", r.Says, r.Findings)
			assert.True(t, slices.ContainsFunc(r.Findings, func(a Attempt) bool { return a.Breach() && a.Door == door.Name }), "%+v", r.Findings)
		})
	}
}

func TestRunProvesNothing(t *testing.T) {
	for name, change := range map[string]func(*World, map[string]*odoo){
		"an old bridge":                 func(_ *World, all map[string]*odoo) { all["r1"].old = true },
		"a pool that does not run":      func(w *World, _ map[string]*odoo) { w.Pools[0].Base = "" },
		"a pool that does not answer":   func(w *World, _ map[string]*odoo) { w.Pools[0].Base = "http://127.0.0.1:1" },
		"a router that does not answer": func(w *World, _ map[string]*odoo) { w.Router = "127.0.0.1:1" },
		"an environment that is away":   func(w *World, _ map[string]*odoo) { w.Unseen = []string{"environment uat: away"} },
	} {
		t.Run(name, func(t *testing.T) {
			w, all := live(t, "")
			change(&w, all)
			r := run(t, w)
			require.Equal(t, Inconclusive, r.Verdict, "%s\n%+v", r.Says, r.Findings)
			require.NotEmpty(t, r.Findings)
		})
	}
}

// TestNoRemoteCalls: a release without the door has none to try.
func TestNoRemoteCalls(t *testing.T) {
	w, all := live(t, "")
	for _, o := range all {
		o.noRPC = true
	}
	r := run(t, w)
	require.Equal(t, Pass, r.Verdict, "%s\n%+v", r.Says, r.Findings)
	assert.False(t, slices.ContainsFunc(r.Doors, func(c Tally) bool { return c.Door == DoorService }))
}

// TestTenantThatMoves: what was another's when it was tried, and is the pool's own by now, is no breach.
func TestTenantThatMoves(t *testing.T) {
	w, _ := live(t, bridge.DoorConnect)
	w.Databases = map[string][]string{"pg:5432": {"acme_production", "bolt_production", "fern_production"}}
	w.Tenants = w.Tenants[:3]
	looks := 0
	r, err := Run(t.Context(), func(context.Context) (World, error) {
		looks++
		now := w
		now.Tenants = slices.Clone(w.Tenants)
		if looks > 1 {
			for i := range now.Tenants {
				now.Tenants[i].May = []string{"r1", "fern-r1"}
			}
		}
		return now, nil
	}, 0)
	require.NoError(t, err)
	require.Equal(t, Inconclusive, r.Verdict, "%s\n%+v", r.Says, r.Findings)
	assert.Contains(t, r.Findings[0].Detail, "moved meanwhile")
}
