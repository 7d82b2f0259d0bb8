package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Crew is a number of clerks who place and ship orders, each in a session of their own.
type Crew struct {
	Site     Site
	Login    string
	Password string
	People   int           // their buckets are spread evenly over 0–99
	Pace     time.Duration // from one order of a person to the next
	Goods    Goods         // what is ordered, and by whom
	Ledger   *Ledger
	Tally    *Tally
	Prefix   string // of the references; tells the orders of one run from those of another

	quit    chan struct{}
	stop    sync.Once
	working sync.WaitGroup
	orders  atomic.Int64
	shipped atomic.Int64
	broken  chan error
}

// Start logs everybody in and sets them to work. It returns once all are logged in; they work
// until Stop, or until ctx is done.
func (c *Crew) Start(ctx context.Context) error {
	if c.People < 1 || c.Pace <= 0 || len(c.Goods.Products) == 0 || len(c.Goods.Customers) == 0 {
		return errors.New("a crew needs people, a pace, products and customers")
	}
	c.quit, c.broken = make(chan struct{}), make(chan error, 1)
	people := make([]*Person, c.People)
	for i := range people {
		person, err := c.Site.Person(c.Login, c.Password, i*100/c.People, c.Tally)
		if err != nil {
			return err
		}
		if err := person.Login(ctx); err != nil {
			return err
		}
		people[i] = person
	}
	for i, person := range people {
		c.working.Go(func() {
			defer person.Close()
			c.work(ctx, i, person)
		})
	}
	return nil
}

// Stop lets everybody finish the order in hand and waits for them. The error is not about Odoo
// but about the record: the ledger could not be written, so the orders cannot be accounted for.
func (c *Crew) Stop() error {
	c.stop.Do(func() { close(c.quit) })
	c.working.Wait()
	select {
	case err := <-c.broken:
		return err
	default:
		return nil
	}
}

// Orders returns how many orders were begun and how many of them were shipped.
func (c *Crew) Orders() (begun, shipped int64) { return c.orders.Load(), c.shipped.Load() }

func (c *Crew) work(ctx context.Context, number int, person *Person) {
	// The same crew does the same things at the same moments, however often it runs.
	dice := rand.New(rand.NewPCG(uint64(number), 19))
	next := time.NewTimer(c.Pace * time.Duration(number) / time.Duration(c.People))
	defer next.Stop()
	for {
		select {
		case <-c.quit:
			return
		case <-ctx.Done():
			return
		case <-next.C:
		}
		begun := time.Now()
		err := c.serve(ctx, number, person, dice)
		if errors.Is(err, ErrLoggedOut) {
			_ = person.Login(ctx) // counted; whoever is thrown out logs in again
		}
		if errors.Is(err, errNotWritten) {
			select {
			case c.broken <- err:
			default:
			}
			return
		}
		next.Reset(max(c.Pace-time.Since(begun), c.Pace/10))
	}
}

// errNotWritten says that Odoo acknowledged something which could not be written down.
var errNotWritten = errors.New("an acknowledged order could not be written down")

// serve is one customer: order, confirm, look at the day's deliveries, ship.
func (c *Crew) serve(ctx context.Context, number int, person *Person, dice *rand.Rand) error {
	order := Order{
		Reference: fmt.Sprintf("%s-%d", c.Prefix, c.orders.Add(1)),
		Customer:  c.Goods.Customers[dice.IntN(len(c.Goods.Customers))],
		Lines:     []Line{{Product: c.Goods.Products[number%len(c.Goods.Products)], Quantity: 1 + dice.IntN(3)}},
	}
	id, err := person.Place(ctx, order)
	if err != nil {
		return err
	}
	if err := c.note(order.Reference, id, Placed); err != nil {
		return err
	}
	if err := person.Confirm(ctx, id); err != nil {
		return err
	}
	if err := c.note(order.Reference, id, Confirmed); err != nil {
		return err
	}
	if err := person.Look(ctx); err != nil {
		return err
	}
	if err := person.Ship(ctx, id); err != nil {
		return err
	}
	if err := c.note(order.Reference, id, Shipped); err != nil {
		return err
	}
	c.shipped.Add(1)
	return nil
}

func (c *Crew) note(reference string, id int, state State) error {
	if err := c.Ledger.Acknowledge(reference, id, state); err != nil {
		return errors.Join(errNotWritten, err)
	}
	return nil
}

// Look opens the list of deliveries, as a clerk does between two of them.
func (p *Person) Look(ctx context.Context) error {
	err := p.Call(ctx, "stock.picking", "web_search_read", nil, map[string]any{
		"domain":        []any{[]any{"picking_type_code", "=", "outgoing"}, []any{"state", "=", "assigned"}},
		"specification": map[string]any{"name": map[string]any{}, "scheduled_date": map[string]any{}, "dock_id": map[string]any{"fields": map[string]any{"display_name": map[string]any{}}}},
		"limit":         20,
	}, nil)
	if err != nil {
		return fmt.Errorf("looking at the deliveries: %w", err)
	}
	return nil
}
