package isolation

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/internal/bridge"
)

// atOnce is how many pools are tried from at the same time: it is done while people work.
const atOnce = 2

// Run tries what has its turn, and says what it means. look says how things are now: it is asked again for what was reached, since
// a tenant may have moved meanwhile, and what was another's is its own now.
func Run(ctx context.Context, look func(context.Context) (World, error), turn int) (Examination, error) {
	world, err := look(ctx)
	if err != nil {
		return Examination{}, err
	}
	list, left := world.plans(turn)
	attempts := make([][]Attempt, len(list))
	slots := make(chan struct{}, atOnce)
	var running sync.WaitGroup
	for i, one := range list {
		running.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			attempts[i] = one.run(ctx)
		})
	}
	running.Wait()
	if err := ctx.Err(); err != nil {
		return Examination{}, err
	}
	var pools []string
	for _, one := range list {
		pools = append(pools, one.pool.String())
	}
	all := slices.Concat(attempts...)
	for _, what := range world.Unseen {
		all = append(all, Attempt{Door: bridge.DoorConnect, Target: what, Control: true, Outcome: bridge.Unknown, Detail: "it could not be looked at"})
	}
	if slices.ContainsFunc(all, Attempt.Breach) {
		now, err := look(ctx)
		if err != nil {
			return Examination{}, err
		}
		for i := range all {
			if all[i].Breach() && now.moved(all[i]) {
				all[i].Outcome, all[i].Detail = bridge.Unknown, "it moved meanwhile: "+all[i].Detail
			}
		}
	}
	if len(pools) == 0 {
		pools = []string{}
	}
	return Judge(pools, all, left), nil
}

// moved says whether what was reached is the pool's own by now, or the pool is gone.
func (w World) moved(a Attempt) bool {
	i := slices.IndexFunc(w.Pools, func(p Pool) bool { return p.String() == a.Pool })
	if i < 0 {
		return true
	}
	if a.Tenant == "" || a.Door == bridge.DoorCursor || a.Door == bridge.DoorRegistry || isRequest(a.Door) && a.Door != DoorHost {
		return false // nobody's else's right, wherever the tenant is
	}
	t := slices.IndexFunc(w.Tenants, func(t Tenant) bool { return t.String() == a.Tenant })
	if t < 0 {
		return false
	}
	if a.Door == bridge.DoorFilestore {
		return w.Pools[i].near(w.Tenants[t])
	}
	return w.Pools[i].owns(w.Tenants[t])
}

func isRequest(door string) bool {
	return slices.Contains([]string{DoorHost, DoorDatabase, DoorHeader, DoorSession, DoorService, DoorList, DoorForwarded, DoorSigned, DoorNobody}, door)
}

// run makes a pool's attempts.
func (p plan) run(ctx context.Context) []Attempt {
	client := newClient()
	var inside []int
	var tries []bridge.IsolationAttempt
	for i, one := range p.planned {
		if one.inside != nil {
			inside, tries = append(inside, i), append(tries, *one.inside)
		}
	}
	p.unreachable(client, inside)
	if len(tries) > 0 {
		p.tryInside(ctx, inside, tries)
	}

	p.ask(ctx, client)
	var all []Attempt
	for _, one := range p.planned {
		if one.Outcome != notThere {
			all = append(all, one.Attempt)
		}
	}
	return all
}

// notThere is the outcome of attempts at a door that the release does not have. They are left out.
const notThere bridge.Reach = "not there"

// ask makes the requests. Each that shows a session has one of its own, since Odoo ends one that is shown at the wrong host; and it
// counts only where the same session was taken at its own host before.
func (p plan) ask(ctx context.Context, client *http.Client) {
	var requests []*planned
	sessions := 0
	for i := range p.planned {
		if one := &p.planned[i]; one.request != nil {
			requests = append(requests, one)
			if one.request.session {
				sessions++
			}
		}
	}
	if len(requests) == 0 {
		return
	}
	keys, sids, why := p.prepare(ctx, sessions)
	defer p.forget(sids)
	var missing []string
	for _, one := range requests {
		if slices.Contains(missing, one.Door) {
			one.Outcome = notThere
			continue
		}
		sid := ""
		if one.request.session {
			if len(sids) == 0 {
				one.Outcome, one.Detail = bridge.Unknown, "there is no session to try it with: "+why
				continue
			}
			sid, sids = sids[0], append(sids[1:], sids[0])
			if !one.Control {
				home := request{base: p.pool.Base, method: "POST", host: p.own.Hosts[0], path: session, body: call(map[string]any{}), session: true, judge: taken}
				if outcome, detail := home.do(ctx, client, sid, nil); outcome != bridge.Reached {
					one.Outcome, one.Detail = bridge.Unknown, "its session is not taken at its own host: "+detail
					continue
				}
			}
		}
		one.Outcome, one.Detail = one.request.do(ctx, client, sid, keys)
		if one.request.optional && one.Outcome != bridge.Reached && strings.HasPrefix(one.Detail, "answered 404") {
			missing, one.Outcome = append(missing, one.Door), notThere
		}
	}
}

// tryInside has the pool make the attempts that are made inside.
func (p plan) tryInside(ctx context.Context, inside []int, tries []bridge.IsolationAttempt) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	results, err := p.pool.Prober.Isolation(ctx, p.own.Database, tries)
	for n, i := range inside {
		one := &p.planned[i]
		if err != nil {
			one.Outcome, one.Detail = bridge.Unknown, err.Error()
			continue
		}
		if one.Outcome == "" { // else it is known already that it proves nothing
			one.Outcome, one.Detail = results[n].Outcome, results[n].Detail
		} else if results[n].Outcome == bridge.Reached {
			one.Outcome, one.Detail = bridge.Reached, results[n].Detail
		}
	}
}

// unreachable marks addresses of other pools that nobody answers at: that they refuse proves nothing.
func (p plan) unreachable(client *http.Client, inside []int) {
	for _, i := range inside {
		one := &p.planned[i]
		if one.Door != bridge.DoorTCP || one.Control {
			continue
		}
		response, err := client.Get("http://" + net.JoinHostPort(one.inside.Host, strconv.Itoa(one.inside.Port)) + "/web/health")
		if err != nil {
			one.Outcome, one.Detail = bridge.Unknown, "it does not answer the server either: "+err.Error()
			continue
		}
		_ = response.Body.Close()
	}
}

// prepare gets what requests need: the bridge's keys, and sessions of the pool's own tenant; why there are none.
func (p plan) prepare(ctx context.Context, sessions int) (keys [][]byte, sids []string, why string) {
	keys, err := p.pool.Keys(ctx)
	if err != nil {
		return nil, nil, err.Error()
	}
	if sessions == 0 {
		return keys, nil, ""
	}
	results, err := p.pool.Prober.Isolation(ctx, p.own.Database, slices.Repeat([]bridge.IsolationAttempt{{Door: bridge.DoorSession}}, sessions))
	if err != nil {
		return keys, nil, err.Error()
	}
	for _, r := range results {
		if r.Outcome != bridge.Reached {
			why = r.Detail
			continue
		}
		sids = append(sids, r.Detail)
	}
	if len(sids) < sessions { // each is shown once
		p.forget(sids)
		return keys, nil, why
	}
	return keys, sids, ""
}

// forget ends sessions; where that fails they end by themselves.
func (p plan) forget(sids []string) {
	if len(sids) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var ends []bridge.IsolationAttempt
	for _, sid := range sids {
		ends = append(ends, bridge.IsolationAttempt{Door: bridge.DoorForget, Target: sid})
	}
	_, _ = p.pool.Prober.Isolation(ctx, p.own.Database, ends)
}
