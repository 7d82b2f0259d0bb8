package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/internal/store"
)

// How events get from the store to those who watch.
const (
	eventsEvery   = 150 * time.Millisecond // how often the store is asked, once for all streams, while there are any
	eventsKept    = 24 * time.Hour         // how far back a stream can be resumed
	eventsBuffer  = 256                    // events that wait for a slow client; after that it is cut off
	eventsBacklog = 1000                   // that a resumed stream is told one by one; more are a reset
	streamsMost   = 10_000                 // of one server
	streamsOfOne  = 1000                   // of one person
)

var (
	errTooManyStreams = errors.New("this server has as many event streams as it takes")
	errTooManyOfOne   = fmt.Errorf("%d event streams are open for you already; close some", streamsOfOne)
	errStopping       = errors.New("the server stops")
)

// Events tells those who watch what has changed. One goroutine asks the store for all of them, while there are any.
type Events struct {
	store    *store.Store
	log      *slog.Logger
	patience time.Duration // see writeLimit

	mu      sync.Mutex
	watches map[*watch]bool
	of      map[string]int // how many watches a person has
	newest  store.Event    // that was given to the watches
	runs    bool           // the goroutine is there
	closed  chan struct{}  // closed when the server stops
	stopped bool
}

// NewEvents makes one over a store.
func NewEvents(s *store.Store, log *slog.Logger) *Events {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Events{store: s, log: log, patience: writeLimit, watches: map[*watch]bool{}, of: map[string]int{}, closed: make(chan struct{})}
}

// message is an event as it goes out, made once for all.
type message struct {
	store.Event
	text []byte
}

// watch is one who is told.
type watch struct {
	person string
	events chan *message
	cut    chan struct{} // closed when it was too slow
	from   store.Event   // the newest event when it began; later ones come through events
}

// watch begins to tell somebody. Whoever calls ends it with leave.
func (e *Events) watch(ctx context.Context, person string) (*watch, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.stopped:
		return nil, errStopping
	case len(e.watches) >= streamsMost:
		return nil, errTooManyStreams
	case e.of[person] >= streamsOfOne:
		return nil, errTooManyOfOne
	}
	if !e.runs {
		newest, err := e.store.NewestEvent(ctx)
		if err != nil {
			return nil, err
		}
		e.newest, e.runs = newest, true
		go e.run()
	}
	w := &watch{person: person, events: make(chan *message, eventsBuffer), cut: make(chan struct{}), from: e.newest}
	e.watches[w] = true
	e.of[person]++
	return w, nil
}

func (e *Events) leave(w *watch) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.drop(w)
}

func (e *Events) drop(w *watch) {
	if !e.watches[w] {
		return
	}
	delete(e.watches, w)
	if e.of[w.person]--; e.of[w.person] == 0 {
		delete(e.of, w.person)
	}
}

// Close ends all streams, and lets no new ones begin.
func (e *Events) Close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.stopped {
		e.stopped = true
		close(e.closed)
	}
}

// run asks the store until nobody watches any more.
func (e *Events) run() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	tick := time.NewTicker(eventsEvery)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-e.closed:
			return
		case <-tick.C:
		}
		e.mu.Lock()
		if len(e.watches) == 0 {
			e.runs = false
			e.mu.Unlock()
			return
		}
		e.mu.Unlock()
		if err := e.look(ctx); (err != nil) != failing {
			if failing = err != nil; failing {
				e.log.Warn("events cannot be read; whoever watches hears of nothing until they can", "error", err)
			} else {
				e.log.Info("events can be read again")
			}
		}
	}
}

// look numbers what has changed, and gives what is new to all who watch.
func (e *Events) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for more := true; more; {
		var err error
		if more, err = e.store.PublishEvents(ctx); err != nil {
			return err
		}
	}
	for {
		list, err := e.store.Events(ctx, e.newest.Seq, eventsBacklog)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return nil
		}
		messages := make([]*message, len(list))
		for i, x := range list {
			messages[i] = &message{x, textOf(x)}
		}
		e.give(messages)
	}
}

func (e *Events) give(messages []*message) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for w := range e.watches {
		for _, m := range messages {
			select {
			case w.events <- m:
				continue
			default:
			}
			close(w.cut)
			e.drop(w)
			break
		}
	}
	e.newest = messages[len(messages)-1].Event
}

// Keep removes what is too old to be told, until ctx is done. Where nobody watches, changes are numbered here.
func (e *Events) Keep(ctx context.Context) error {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		err := e.store.ForgetEvents(ctx, time.Now().Add(-eventsKept))
		for more := true; more && err == nil; {
			more, err = e.store.PublishEvents(ctx)
		}
		if err != nil && ctx.Err() == nil {
			e.log.Warn("forget old events", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// eventID names an event in a stream: its number, and its time in microseconds, which tells it from the same number in
// a database that was restored.
func eventID(x store.Event) string {
	return strconv.FormatInt(x.Seq, 10) + "-" + strconv.FormatInt(x.At.UnixMicro(), 36)
}

func parseEventID(id string) (seq int64, at time.Time, ok bool) {
	number, micro, found := strings.Cut(id, "-")
	if !found {
		return 0, at, false
	}
	seq, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return 0, at, false
	}
	us, err := strconv.ParseInt(micro, 36, 64)
	return seq, time.UnixMicro(us), err == nil
}

// textOf is an event in the form that the stream has. The data is one line of JSON.
func textOf(x store.Event) []byte {
	return fmt.Appendf(nil, "id: %s\nevent: %s\ndata: %s\n\n", eventID(x), x.Topic, x.Data)
}
