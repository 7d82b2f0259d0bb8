package isolation

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/bridge"
)

// The doors that are tried over HTTP, as anybody could: at the pool's own address, and through the router.
const (
	DoorHost      = "host"
	DoorDatabase  = "database"
	DoorHeader    = "header"
	DoorSession   = "foreign session"
	DoorService   = "service"
	DoorList      = "list"
	DoorForwarded = "forwarded"
	DoorSigned    = "signed"
	DoorNobody    = "nobody"
)

// requestLimit is how long one request may take: a tenant's first opens its registry.
const requestLimit = 30 * time.Second

// request is one over HTTP, and what its answer means.
type request struct {
	base, host    string // where it goes, and which Host it names
	method, path  string
	header        map[string]string
	body          any
	session       bool // with a session of the pool's own tenant
	sign, witness bool
	optional      bool // a control: where there is no such page, the door is not there, and nothing is tried at it
	judge         func(answer) (bridge.Reach, string)
}

// answer is what came back.
type answer struct {
	status  int
	served  string // database that Odoo opened, where witnessed
	witness bool
	body    string
}

// the pages that are asked for; all there are in every series.
const (
	login   = "/web/login"
	session = "/web/session/check"
	status  = "/waybill/v1/status"
	list    = "/web/database/list"
	manager = "/web/database/manager"
	jsonrpc = "/jsonrpc"
)

// call is the body of a call of Odoo's.
func call(params any) any {
	return map[string]any{"jsonrpc": "2.0", "method": "call", "id": 1, "params": params}
}

func remote(service, method string, args ...any) any {
	return call(map[string]any{"service": service, "method": method, "args": args})
}

// accepted says whether a session was taken for somebody's: the page says nothing then, and what is wrong otherwise.
func (a answer) accepted() bool {
	var said map[string]json.RawMessage
	return a.status == http.StatusOK && json.Unmarshal([]byte(a.body), &said) == nil && said["error"] == nil && said["jsonrpc"] != nil
}

// result is what a call gave; nil where it was refused.
func (a answer) result() json.RawMessage {
	var said struct {
		Result json.RawMessage `json:"result"`
		Error  json.RawMessage `json:"error"`
	}
	if a.status != http.StatusOK || json.Unmarshal([]byte(a.body), &said) != nil || said.Error != nil {
		return nil
	}
	return said.Result
}

func (a answer) says() string {
	text := fmt.Sprintf("answered %d", a.status)
	if a.witness && a.served == "" {
		text += ", no database opened"
	} else if a.witness {
		text += ", database " + a.served + " opened"
	}
	return text
}

// refusedBy is the outcome of an answer that gave nothing away: an error of the server's proves nothing.
func (a answer) refusedBy() (bridge.Reach, string) {
	if a.status >= 500 {
		return bridge.Unknown, a.says()
	}
	return bridge.Refused, a.says()
}

// onlyOwn: nothing but the database given, or none, was opened.
func onlyOwn(database string) func(answer) (bridge.Reach, string) {
	return func(a answer) (bridge.Reach, string) {
		switch {
		case a.witness && a.served != "" && a.served != database:
			return bridge.Reached, a.says()
		case !a.witness && a.status < 400:
			return bridge.Unknown, a.says() + ", and does not tell which database"
		}
		return a.refusedBy()
	}
}

// nothing at all is served.
func nothing(a answer) (bridge.Reach, string) {
	if a.witness && a.served != "" || a.status < 400 {
		return bridge.Reached, a.says()
	}
	return a.refusedBy()
}

// notAccepted: the session is nobody's there.
func notAccepted(a answer) (bridge.Reach, string) {
	if a.accepted() {
		return bridge.Reached, a.says() + ", and the session is taken"
	}
	return a.refusedBy()
}

// naming none of these databases, as Odoo's list and its manager would: in JSON, in an attribute, in a link.
func naming(names []string) func(answer) (bridge.Reach, string) {
	return func(a answer) (bridge.Reach, string) {
		for _, name := range names {
			for _, form := range []string{`"` + name + `"`, `'` + name + `'`, `db=` + name + `"`, `db=` + name + `&`} {
				if strings.Contains(a.body, form) && (a.status < 400) {
					return bridge.Reached, a.says() + ", and names database " + name
				}
			}
		}
		return a.refusedBy()
	}
}

// noResult: a call that may give nothing but false.
func noResult(a answer) (bridge.Reach, string) {
	if result := a.result(); result != nil && string(result) != "false" {
		return bridge.Reached, a.says() + " " + cut(string(result))
	}
	return a.refusedBy()
}

// noDatabase: a login at a database, which says no differently where the database was opened.
func noDatabase(a answer) (bridge.Reach, string) {
	if result := a.result(); result != nil {
		return bridge.Reached, a.says() + " " + cut(string(result)) + ": it looked for that person in the database"
	}
	return a.refusedBy()
}

func cut(s string) string { return s[:min(len(s), 100)] }

// requests are what is tried over HTTP: at the pool, in the name of one of its tenants, and through the router.
func (w World) requests(p Pool, own Tenant, turn int) (all []planned, left int) {
	if p.Base == "" || len(own.Hosts) == 0 {
		return []planned{{Attempt: Attempt{Pool: p.String(), Door: DoorHost, Target: "its own host", Control: true, Outcome: bridge.Unknown, Detail: "the pool does not run, or its tenant has no host"}}}, 0
	}
	add := func(door, target, tenant string, r request) planned {
		if r.base == "" {
			r.base = p.Base
		}
		return planned{Attempt: Attempt{Pool: p.String(), Door: door, Target: target, Tenant: tenant}, request: &r}
	}
	control := func(door, target string, r request) {
		one := add(door, target, own.String(), r)
		one.Control = true
		all = append(all, one)
	}
	some := func(list []planned) {
		chosen, rest := turnOf(list, maxTargets, turn)
		all, left = append(all, chosen...), left+len(rest)
	}
	host := own.Hosts[0]

	control(DoorHost, "its own host "+host, request{method: "GET", host: host, path: login, witness: true, judge: func(a answer) (bridge.Reach, string) {
		if a.witness && a.served == own.Database && a.status < 400 {
			return bridge.Reached, a.says()
		}
		return bridge.Unknown, a.says()
	}})
	control(DoorSession, "its own session at its own host "+host, request{method: "POST", host: host, path: session, body: call(map[string]any{}), session: true, judge: taken})

	var hosts, databases, headers, sessions, services []planned
	names := []string{}
	for _, t := range w.Tenants {
		if t.Environment == own.Environment && t.Name == own.Name {
			continue
		}
		whose := t.String()
		if t.Database != own.Database {
			names = append(names, t.Database)
			databases = append(databases, add(DoorDatabase, "database "+t.Database+" at "+host, whose, request{method: "GET", host: host, path: login + "?db=" + t.Database, witness: true, judge: onlyOwn(own.Database)}))
			headers = append(headers, add(DoorHeader, "database "+t.Database+" at "+host, whose, request{method: "GET", host: host, path: login, header: map[string]string{"X-Odoo-Database": t.Database}, witness: true, judge: onlyOwn(own.Database)}))
			services = append(services,
				add(DoorService, "a login at database "+t.Database+" at "+host, whose, request{method: "POST", host: host, path: jsonrpc, body: remote("common", "authenticate", t.Database, "waybill-isolation", "-", map[string]any{}), judge: noDatabase}),
				add(DoorService, "whether there is a database "+t.Database+" at "+host, whose, request{method: "POST", host: host, path: jsonrpc, body: remote("db", "db_exist", t.Database), judge: noResult}))
		}
		if len(t.Hosts) == 0 {
			continue
		}
		if !p.owns(t) {
			hosts = append(hosts, add(DoorHost, t.Hosts[0]+" of "+whose, whose, request{method: "GET", host: t.Hosts[0], path: login, witness: true, judge: nothing}))
		}
		if base := w.baseOf(t); base != "" && t.Still {
			sessions = append(sessions, add(DoorSession, "the session of "+own.Name+" at "+t.Hosts[0], whose, request{base: base, method: "POST", host: t.Hosts[0], path: session, body: call(map[string]any{}), session: true, judge: notAccepted}))
		}
	}
	some(hosts)
	some(databases)
	some(headers)
	some(sessions)
	if len(services) > 0 {
		control(DoorService, "a login at its own database", request{method: "POST", host: host, path: jsonrpc, optional: true, body: remote("common", "authenticate", own.Database, "waybill-isolation", "-", map[string]any{}), judge: func(a answer) (bridge.Reach, string) {
			if a.result() != nil {
				return bridge.Reached, a.says()
			}
			return bridge.Unknown, a.says()
		}})
		some(services)
	}
	all = append(all,
		add(DoorList, "the list of databases at "+host, "", request{method: "POST", host: host, path: list, body: call(map[string]any{}), judge: naming(names)}),
		add(DoorList, "the database manager at "+host, "", request{method: "GET", host: host, path: manager, judge: naming(names)}))

	if w.Router == "" || !own.Still {
		return all, left
	}
	router := "http://" + w.Router
	control(DoorForwarded, "its own session through the router", request{base: router, method: "POST", host: host, path: session, body: call(map[string]any{}), session: true, judge: taken})
	var forwarded []planned
	for _, t := range w.Tenants {
		if t.Environment == own.Environment && t.Name != own.Name && t.Still && len(t.Hosts) > 0 && w.baseOf(t) != "" {
			forwarded = append(forwarded, add(DoorForwarded, "the session of "+own.Name+" at "+t.Hosts[0]+", forwarded as "+host, t.String(),
				request{base: router, method: "POST", host: t.Hosts[0], path: session, body: call(map[string]any{}), session: true, header: map[string]string{"X-Forwarded-Host": host}, judge: notAccepted}))
		}
	}
	some(forwarded)
	control(DoorSigned, "the bridge, as the server calls it", request{method: "GET", host: host, path: status, sign: true, judge: func(a answer) (bridge.Reach, string) {
		if a.status == http.StatusOK {
			return bridge.Reached, a.says()
		}
		return bridge.Unknown, a.says()
	}})
	all = append(all,
		add(DoorSigned, "the bridge at "+host+", signed", "", request{base: router, method: "GET", host: host, path: status, sign: true, judge: nothing}),
		add(DoorNobody, "waybill-isolation.invalid", "", request{base: router, method: "GET", host: "waybill-isolation.invalid", path: login, judge: nothing}))
	return all, left
}

// taken is the control of a session.
func taken(a answer) (bridge.Reach, string) {
	if a.accepted() {
		return bridge.Reached, a.says()
	}
	return bridge.Unknown, a.says() + ", and the session is not taken"
}

// baseOf is the address of a pool that serves a tenant.
func (w World) baseOf(t Tenant) string {
	for _, p := range w.Pools {
		if p.Environment == t.Environment && p.Base != "" && slices.Contains(t.Serves, p.Name) {
			return p.Base
		}
	}
	return ""
}

// client keeps no connection and follows nothing: each request stands for itself.
func newClient() *http.Client {
	return &http.Client{
		Timeout: requestLimit,
		Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true, DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			MaxResponseHeaderBytes: 64 << 10},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// do makes a request and says what its answer means.
func (r *request) do(ctx context.Context, client *http.Client, sid string, keys [][]byte) (bridge.Reach, string) {
	if len(keys) == 0 && (r.sign || r.witness) {
		return bridge.Unknown, "there is no key to sign with"
	}
	var outcome bridge.Reach
	var detail string
	for i := range max(1, len(keys)) {
		a, err := r.ask(ctx, client, sid, keys, i)
		if err != nil {
			return bridge.Unknown, err.Error()
		}
		outcome, detail = r.judge(a)
		if outcome == bridge.Reached || a.witness || !(r.sign || r.witness) { // else the pool may know the other key
			break
		}
	}
	return outcome, detail
}

func (r *request) ask(ctx context.Context, client *http.Client, sid string, keys [][]byte, key int) (answer, error) {
	var content []byte
	if r.body != nil {
		var err error
		if content, err = json.Marshal(r.body); err != nil {
			return answer{}, err
		}
	}
	q, err := http.NewRequestWithContext(ctx, r.method, r.base+r.path, bytes.NewReader(content))
	if err != nil {
		return answer{}, err
	}
	q.Host = r.host
	if r.body != nil {
		q.Header.Set("Content-Type", "application/json")
	}
	for name, value := range r.header {
		q.Header.Set(name, value)
	}
	if r.session {
		q.AddCookie(&http.Cookie{Name: "session_id", Value: sid})
	}
	switch {
	case r.sign:
		q.Header.Set(bridge.SignatureHeader, bridge.SignCall(keys[key], time.Now(), r.method, r.path))
	case r.witness:
		q.Header.Set(bridge.SignatureHeader, bridge.Witness(keys[key], time.Now(), r.method, r.path))
	}
	response, err := client.Do(q)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return answer{}, fmt.Errorf("the answer broke off: %w", err)
	}
	a := answer{status: response.StatusCode, body: string(raw)}
	if values := response.Header.Values(bridge.ServedHeader); len(values) > 0 {
		a.witness, a.served = true, values[0]
	}
	return a, nil
}
