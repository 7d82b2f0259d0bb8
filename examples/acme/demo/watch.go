package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waybill-dev/waybill/examples/acme/client"
)

// visit is one look at the form of a delivery in the browser.
type visit struct {
	at       time.Time // when it began
	took     time.Duration
	how      string // reloaded, revisited
	form     client.Form
	err      error
	bySlot   bool // the form shows the field that r2 brings
	byLoader bool // the form shows the field that r5 brings
}

// watcher is a person who keeps one tab open on the form of a delivery and looks again and again.
// The tab's bucket is the last that goes to a new pool.
type watcher struct {
	browser *client.Browser
	quit    chan struct{}
	hurried chan struct{} // tells look that the pace has changed
	ended   sync.WaitGroup
	pace    atomic.Int64 // time.Duration between two visits

	mu     sync.Mutex
	visits []visit
}

// lastBucket stays on the old pool for as long as there is one.
const lastBucket = 99

func watch(ctx context.Context, site client.Site, login, password string, delivery int, pictures string) (*watcher, error) {
	site.Patience = 3 * time.Minute // the first visit of all has Odoo bundle its scripts
	browser, err := site.OpenBrowser(ctx, lastBucket, pictures)
	if err != nil {
		return nil, err
	}
	w := &watcher{browser: browser, quit: make(chan struct{}), hurried: make(chan struct{}, 1)}
	w.pace.Store(int64(atRest))
	if err := undisturbed(func() error { return browser.Login(ctx, login, password) }); err != nil {
		browser.Close()
		return nil, err
	}
	var form client.Form
	err = undisturbed(func() (err error) { form, err = browser.OpenDelivery(ctx, delivery); return err })
	if err == nil && !form.Has("dock_id") {
		err = fmt.Errorf("the form of delivery %d does not show its dock; it shows %v", delivery, form.Fields)
	}
	if err == nil {
		var bucket string
		if bucket, err = browser.Cookie(ctx, client.BucketCookie); err == nil && bucket != strconv.Itoa(lastBucket) {
			err = fmt.Errorf("the browser came with bucket %d and was given %q", lastBucket, bucket)
		}
	}
	if err == nil {
		err = browser.Picture(ctx, "r1-form")
	}
	if err != nil {
		browser.Close()
		return nil, err
	}
	w.ended.Go(func() { w.look(ctx) })
	return w, nil
}

// undisturbed does something again when the browser gave it up because a container beside it started or ended. A pool is a few
// containers, so that it happens often in a row says that something else is wrong.
func undisturbed(do func() error) error {
	err := do()
	for again := 0; again < 10 && errors.Is(err, client.ErrNetworkChanged); again++ {
		err = do()
	}
	return err
}

// Between two visits. A page load costs a browser and Odoo a second of a processor, which on two cores is
// felt by everybody else, so the person only hurries while there is something to see.
const (
	atRest  = 12 * time.Second
	hurried = time.Second
)

// hurry has visits follow each other quickly, until rest.
func (w *watcher) hurry() {
	w.pace.Store(int64(hurried))
	select {
	case w.hurried <- struct{}{}:
	default:
	}
}

func (w *watcher) rest() { w.pace.Store(int64(atRest)) }

// look visits the form again and again: once within the running page, twice by loading it anew.
func (w *watcher) look(ctx context.Context) {
	next := time.NewTimer(0)
	defer next.Stop()
	for n := 0; ; n++ {
		select {
		case <-w.quit:
			return
		case <-ctx.Done():
			return
		case <-w.hurried:
		case <-next.C:
		}
		v := visit{at: time.Now(), how: "reloaded"}
		if n%3 == 0 {
			v.how = "revisited"
			v.form, v.err = w.browser.Revisit(ctx)
		} else {
			v.form, v.err = w.browser.Reload(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		if errors.Is(v.err, client.ErrNetworkChanged) { // no visit: the next one is
			next.Reset(time.Second)
			continue
		}
		v.took = time.Since(v.at)
		v.bySlot, v.byLoader = v.form.Has("dock_slot"), v.form.Has("loading_class")
		w.mu.Lock()
		w.visits = append(w.visits, v)
		w.mu.Unlock()
		next.Reset(time.Duration(w.pace.Load()))
	}
}

// since returns the visits that began at or after a moment.
func (w *watcher) since(moment time.Time) []visit {
	w.mu.Lock()
	defer w.mu.Unlock()
	var later []visit
	for _, v := range w.visits {
		if !v.at.Before(moment) {
			later = append(later, v)
		}
	}
	return later
}

// until waits for a visit, begun at or after a moment, that shows what is looked for.
func (w *watcher) until(ctx context.Context, moment time.Time, limit time.Duration, what string, shows func(visit) bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		for _, v := range w.since(moment) {
			if v.err == nil && shows(v) {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the browser did not see %s within %s", what, limit)
		case <-tick.C:
		}
	}
}

// log tells the visits since a moment, for whoever has to find out why a story is not proven.
func (w *watcher) log(moment time.Time) string {
	var lines []string
	for _, v := range w.since(moment) {
		lines = append(lines, fmt.Sprintf("%s %s in %.1f s: %d fields, r2's shown %t, error %v",
			v.at.Format(time.TimeOnly), v.how, v.took.Seconds(), len(v.form.Fields), v.bySlot, v.err))
	}
	return strings.Join(lines, "\n  ")
}

// faults are the visits that went wrong since a moment.
func (w *watcher) faults(moment time.Time) error {
	var errs []error
	for _, v := range w.since(moment) {
		if v.err != nil {
			errs = append(errs, fmt.Errorf("%s, %s: %w", v.at.Format(time.TimeOnly), v.how, v.err))
		}
	}
	return errors.Join(errs...)
}

func (w *watcher) stop() {
	close(w.quit)
	w.ended.Wait()
	w.browser.Close()
}
