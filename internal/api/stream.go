package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/waybill-dev/waybill/internal/identity"
	"github.com/waybill-dev/waybill/internal/notify"
	"github.com/waybill-dev/waybill/internal/store"
)

// How a stream is kept alive, and when it is given up.
const (
	heartbeat  = 15 * time.Second // also how often it is looked again at who watches
	writeLimit = 30 * time.Second // for a client to take what it was sent
)

// EventHello begins a stream.
type EventHello struct {
	Version string `json:"version"`
	Resumed bool   `json:"resumed" doc:"What was missed follows; else read what you show"`
}

// EventReset says that what was missed can no longer be told.
type EventReset struct {
	Says string `json:"says"`
}

// EventEnd is the last event of a stream that the server ends.
type EventEnd struct {
	Reason string `json:"reason" enum:"slow,stopping,denied"`
	Says   string `json:"says"`
}

// topics are what a stream tells of: who may see it, and what its data is.
var topics = map[string]struct {
	op   identity.Operation
	data any
}{
	store.TopicPromotion:    {identity.PromotionRead, store.PromotionEvent{}},
	store.TopicApproval:     {identity.PromotionRead, store.ApprovalEvent{}},
	store.TopicEnvironment:  {identity.StatusRead, store.EnvironmentEvent{}},
	store.TopicNotification: {identity.StatusRead, notify.Message{}},
	store.TopicRehearsal:    {identity.RehearsalRead, store.RehearsalEvent{}},
	store.TopicRelease:      {identity.ReleaseRead, store.ReleaseEvent{}},
	store.TopicEstate:       {identity.EstateRead, store.EstateEvent{}},
	store.TopicLedger:       {identity.LedgerRead, store.LedgerEvent{}},
}

// streamInput is what a stream is asked for with.
type streamInput struct {
	After       string `header:"Last-Event-ID" maxLength:"100" doc:"The last event that was seen: what came after it is told first"`
	AfterQuery  string `query:"after" maxLength:"100" doc:"The same, for clients that cannot set the header"`
	Environment string `query:"environment" maxLength:"100" doc:"Only what is of this environment, or of none"`
	Promotion   string `query:"promotion" maxLength:"100" doc:"Only what is of this promotion"`
	Limit       int    `query:"limit" minimum:"0" maximum:"1000000" doc:"End after so many events, hello included; 0: do not"`
}

func (b Backend) eventRoutes(api huma.API) {
	huma.Get(api, "/api/v1/events", func(ctx context.Context, in *streamInput) (*huma.StreamResponse, error) {
		a := askingOf(ctx)
		a.decided = true // of each event for itself
		if in.After == "" {
			in.After = in.AfterQuery
		}
		w, err := b.Events.watch(ctx, a.person.Name)
		switch {
		case errors.Is(err, errTooManyOfOne):
			return nil, huma.Error429TooManyRequests(err.Error())
		case errors.Is(err, errTooManyStreams), errors.Is(err, errStopping):
			return nil, huma.Error503ServiceUnavailable(err.Error())
		case err != nil:
			return nil, problem(err)
		}
		backlog, resumed, err := b.Events.since(ctx, in.After, w.from.Seq)
		if err != nil {
			b.Events.leave(w)
			return nil, problem(err)
		}
		return &huma.StreamResponse{Body: func(c huma.Context) {
			defer b.Events.leave(w)
			_, out := humago.Unwrap(c)
			s := &stream{Backend: b, ctx: c.Context(), in: in, asking: a, out: out, control: http.NewResponseController(out), sees: map[string]bool{}}
			s.run(w, backlog, resumed)
		}}, nil
	}, does(identity.StatusRead), describe("Changes as they happen",
		"Server-sent events (text/event-stream). Each has an id; a stream that is opened with the last one in Last-Event-ID goes on after it, for a day back. "+
			"Only what who asks may see is told. A line `: still here` comes every 15 seconds. The first event is `hello`; `reset` says that something was missed, so that "+
			"whatever is shown must be read anew; `end` is the last one where the server ends the stream."), streams(api))
}

// streams documents the answer: what no type says.
func streams(api huma.API) func(*huma.Operation) {
	return func(o *huma.Operation) {
		kinds := map[string]any{"hello": EventHello{}, "reset": EventReset{}, "end": EventEnd{}}
		for topic, t := range topics {
			kinds[topic] = t.data
		}
		properties := map[string]*huma.Schema{}
		for name, data := range kinds {
			properties[name] = api.OpenAPI().Components.Schemas.Schema(reflect.TypeOf(data), true, "Event"+name)
		}
		o.Responses = map[string]*huma.Response{"200": {Description: "Events, until somebody ends it", Content: map[string]*huma.MediaType{"text/event-stream": {
			Schema: &huma.Schema{Type: huma.TypeObject, Description: "The data of each kind of event (the line `event:`), as one line of JSON", Properties: properties},
		}}}}
	}
}

// since are the events that a client has missed, up to a number. resumed is false where it named none, or they can no longer be told.
func (e *Events) since(ctx context.Context, after string, upTo int64) (backlog []*message, resumed bool, err error) {
	if after == "" {
		return nil, false, nil
	}
	seq, at, ok := parseEventID(after)
	if ok {
		ok, err = e.store.HasEvent(ctx, seq, at)
	}
	if err != nil || !ok {
		return nil, false, err
	}
	list, err := e.store.Events(ctx, seq, eventsBacklog+1)
	if err != nil || len(list) > eventsBacklog {
		return nil, false, err
	}
	for _, x := range list {
		if x.Seq <= upTo {
			backlog = append(backlog, &message{x, textOf(x)})
		}
	}
	return backlog, true, nil
}

// stream is one client's.
type stream struct {
	Backend
	ctx     context.Context
	in      *streamInput
	asking  *asking
	out     io.Writer
	control *http.ResponseController
	sees    map[string]bool // by topic and environment
	sent    int
}

// errEnough ends a stream that was asked for with a limit.
var errEnough = errors.New("as many events were sent as were asked for")

func (s *stream) run(w *watch, backlog []*message, resumed bool) {
	h := s.out.(http.ResponseWriter).Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // for a proxy in front
	defer func() { _ = s.control.SetWriteDeadline(time.Time{}) }()
	if err := s.begin(w, backlog, resumed); err != nil {
		return
	}
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		var err error
		select {
		case <-s.ctx.Done():
			return
		case <-s.Events.closed:
			s.end("stopping", "The server stops. Connect again: another one goes on, or this one when it is back.")
			return
		case <-w.cut:
			s.end("slow", fmt.Sprintf("More than %d events were waiting to be read. Connect again, with the last one that you saw.", eventsBuffer))
			return
		case m := <-w.events:
			err = s.tell(m, w.events)
		case <-tick.C:
			if err = s.look(); err == nil {
				err = s.write([]byte(": still here\n\n"))
			}
		}
		if err != nil {
			return
		}
	}
}

// begin says from where the stream goes on.
func (s *stream) begin(w *watch, backlog []*message, resumed bool) error {
	if s.in.After != "" && !resumed {
		if err := s.say("reset", "", EventReset{"What came after event " + s.in.After + " can no longer be told. Read anew what you show."}); err != nil {
			return err
		}
	}
	id := s.in.After
	if !resumed {
		id = eventID(w.from)
	}
	if err := s.say("hello", id, EventHello{Version: s.Version, Resumed: resumed}); err != nil {
		return err
	}
	for _, m := range backlog {
		if err := s.one(m); err != nil {
			return err
		}
	}
	return s.flush()
}

// tell writes an event, and those that wait behind it, in one go.
func (s *stream) tell(m *message, rest <-chan *message) error {
	for {
		if err := s.one(m); err != nil {
			return err
		}
		select {
		case m = <-rest:
			continue
		default:
		}
		return s.flush()
	}
}

// one writes an event where who watches may see it.
func (s *stream) one(m *message) error {
	if m.Topic == store.TopicToken {
		if m.Subject == s.asking.person.Token {
			return s.look()
		}
		return nil
	}
	if !s.wants(m) {
		return nil
	}
	return s.put(m.text)
}

func (s *stream) wants(m *message) bool {
	t, known := topics[m.Topic]
	if !known || s.in.Environment != "" && m.Environment != "" && m.Environment != s.in.Environment {
		return false
	}
	if s.in.Promotion != "" && (m.Subject != s.in.Promotion || m.Topic != store.TopicPromotion && m.Topic != store.TopicApproval) {
		return false
	}
	key := m.Topic + " " + m.Environment
	sees, looked := s.sees[key]
	if !looked {
		sees = s.asking.person.May(t.op, identity.Subject{Environment: m.Environment}) == nil
		s.sees[key] = sees
	}
	return sees
}

// look asks again who watches: what they showed may have ended, and what they may can have changed.
func (s *stream) look() error {
	person, err := s.asking.again(s.ctx)
	var unknown *identity.Unknown
	switch {
	case errors.As(err, &unknown):
		s.end("denied", "What you have shown does not count any more: "+unknown.Reason+".")
		return err
	case err != nil: // it cannot be found out now; it is tried again
		return nil //nolint:nilerr // a store that is away for a moment ends no stream
	}
	s.asking.person = person
	clear(s.sees)
	return nil
}

// end writes a last event, as well as it goes.
func (s *stream) end(reason, says string) {
	s.in.Limit = 0
	if s.say("end", "", EventEnd{reason, says}) == nil {
		_ = s.flush()
	}
}

// say writes an event of the stream's own. Without an id the client keeps the one that it has.
func (s *stream) say(event, id string, data any) error {
	text, err := json.Marshal(data)
	if err != nil {
		return err
	}
	if id != "" {
		return s.put(fmt.Appendf(nil, "id: %s\nevent: %s\ndata: %s\n\n", id, event, text))
	}
	return s.put(fmt.Appendf(nil, "event: %s\ndata: %s\n\n", event, text))
}

func (s *stream) put(text []byte) error {
	if err := s.control.SetWriteDeadline(time.Now().Add(s.Events.patience)); err != nil {
		return err
	}
	if _, err := s.out.Write(text); err != nil {
		return err
	}
	if s.sent++; s.in.Limit > 0 && s.sent >= s.in.Limit {
		_ = s.flush()
		return errEnough
	}
	return nil
}

func (s *stream) write(text []byte) error {
	if err := s.control.SetWriteDeadline(time.Now().Add(s.Events.patience)); err != nil {
		return err
	}
	if _, err := s.out.Write(text); err != nil {
		return err
	}
	return s.flush()
}

func (s *stream) flush() error { return s.control.Flush() }
