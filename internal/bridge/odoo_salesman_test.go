//go:build odoo

package bridge

import (
	"bytes"
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// salesman confirms orders as clients do, and keeps a ledger.
type salesman struct {
	pool    *pool
	db      string
	session string
}

// tally is what the clients were told.
type tally struct{ done, refused, unknown int64 }

// draft makes quotations.
func (s *salesman) draft(t *testing.T, n int) []int {
	t.Helper()
	var partner, product int
	require.NoError(t, json.Unmarshal(s.pool.call(t, "a.example", s.session, "res.partner", "create", []any{map[string]any{"name": "Ledger"}}, nil), &partner))
	require.NoError(t, json.Unmarshal(s.pool.call(t, "a.example", s.session, "product.product", "create",
		[]any{map[string]any{"name": "Ledger", "type": "consu", "is_storable": true}}, nil), &product))
	values := make([]any, n)
	for i := range values {
		values[i] = map[string]any{"partner_id": partner, "order_line": []any{[]any{0, 0, map[string]any{"product_id": product, "product_uom_qty": 1}}}}
	}
	var orders []int
	require.NoError(t, json.Unmarshal(s.pool.call(t, "a.example", s.session, "sale.order", "create", []any{values}, nil), &orders))
	require.Len(t, orders, n)
	return orders
}

// confirmAll has four clients confirm the orders, half of them by each of Odoo's two ways in. A client that gets
// no answer tries again. disturb is called now and then meanwhile.
func (s *salesman) confirmAll(t *testing.T, orders []int, disturb func()) tally {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	orders = slices.Clone(orders)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(orders), func(i, j int) { orders[i], orders[j] = orders[j], orders[i] })
	var lock sync.Mutex
	var sum tally
	next, unknown := 0, false
	var clients sync.WaitGroup
	for n := range 4 {
		clients.Go(func() {
			for {
				lock.Lock()
				if next == len(orders) || ctx.Err() != nil {
					lock.Unlock()
					return
				}
				order := orders[next]
				next++
				// Until a worker was killed in the middle of a request, and the ledger has what it is for.
				kill := disturb != nil && next%8 == 0 && !unknown
				lock.Unlock()
				for {
					if kill {
						clients.Go(disturb)
						kill = false
					}
					done, refused := s.confirm(ctx, order, n%2 == 0)
					lock.Lock()
					switch {
					case done:
						sum.done++
					case refused:
						sum.refused++
					default:
						sum.unknown++
						unknown = true
					}
					lock.Unlock()
					if done || refused || ctx.Err() != nil {
						break
					}
				}
				if disturb != nil && order%5 == 0 { // what is confirmed already is refused
					if _, refused := s.confirm(ctx, order, n%2 == 0); refused {
						lock.Lock()
						sum.refused++
						lock.Unlock()
					} else {
						lock.Lock()
						sum.unknown++
						lock.Unlock()
					}
				}
			}
		})
	}
	clients.Wait()
	require.NoError(t, ctx.Err())
	return sum
}

func (s *salesman) confirm(ctx context.Context, order int, web bool) (done, refused bool) {
	path, params := "/jsonrpc", map[string]any{"service": "object", "method": "execute_kw", "args": []any{s.db, 2, "admin", "sale.order", "action_confirm", []any{[]int{order}}}}
	if web {
		path = "/web/dataset/call_kw/sale.order/action_confirm"
		params = map[string]any{"model": "sale.order", "method": "action_confirm", "args": []any{[]int{order}}, "kwargs": map[string]any{}}
	}
	body, err := json.Marshal(rpc{"2.0", "call", params})
	if err != nil {
		return false, false
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.pool.addr+path, bytes.NewReader(body))
	if err != nil {
		return false, false
	}
	request.Host = "a.example"
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Cookie", "session_id="+s.session)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false, false
	}
	defer response.Body.Close()
	var answer struct{ Result, Error json.RawMessage }
	if response.StatusCode != http.StatusOK || json.NewDecoder(response.Body).Decode(&answer) != nil {
		return false, false
	}
	return len(answer.Error) == 0, len(answer.Error) > 0
}
