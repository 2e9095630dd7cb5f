package local

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"errand/shared/bus"
	"errand/shared/serve"
)

// BusConfig configures a Bus. Only Handler has no default.
type BusConfig struct {
	Handler http.Handler // receives the envelopes, at bus.PathEvents
	// Subscriptions are names. Every event is delivered once for each of them. Without
	// subscriptions events are dropped, as a topic without subscriptions drops them.
	Subscriptions []string
	Limits        Limits       // of the one lane of the bus
	Log           *slog.Logger // default: no log
}

// A Bus is a bus.Publisher in memory. Its events are lost with the process. Webhooks are
// not: their cursors are in the records.
type Bus struct {
	lane          *lane[message]
	subscriptions []string
}

var _ bus.Publisher = (*Bus)(nil)

// NewBus returns a Bus that runs until Close.
func NewBus(c BusConfig) *Bus {
	return &Bus{
		lane:          newLane[message]("events", c.Handler, c.Limits.withDefaults(busMinBackoff), c.Log),
		subscriptions: c.Subscriptions,
	}
}

// Publish enqueues events and never blocks. An error means that the bus is closed or has no
// room for all of them. Then it took none, and the turn that publishes them is retried
// (R7). Publish does not check whether ctx has ended.
func (b *Bus) Publish(ctx context.Context, events ...bus.Event) error {
	now := time.Now()
	items := make([]*item[message], 0, len(events)*len(b.subscriptions))
	for _, e := range events {
		if e.Trace == "" {
			e.Trace = serve.Trace(ctx)
		}
		for _, s := range b.subscriptions {
			items = append(items, &item[message]{msg: message{event: e, subscription: s, published: now}, pos: -1})
		}
	}
	if err := b.lane.add(items...); err != nil {
		return fmt.Errorf("publishing %d events: %w", len(events), err)
	}
	return nil
}

// Close closes the bus as Queue.Close closes a queue.
func (b *Bus) Close(ctx context.Context) error {
	b.lane.stop()
	return b.lane.wait(ctx)
}

// A message is an event on its way to a subscription.
type message struct {
	event        bus.Event
	subscription string
	published    time.Time
}

func (m message) subject() string { return m.event.Task }
func (message) owner() string     { return "events" } // of any task: each costs a read and a job

func (m message) post(_ string, t try) (string, http.Header, []byte) {
	data, err := json.Marshal(bus.Push{
		Message:      bus.Message{Attributes: m.event, MessageID: t.name, PublishTime: m.published.UTC()},
		Subscription: m.subscription,
	})
	if err != nil { // strings, and times of one clock, can always be encoded
		panic(fmt.Sprintf("encoding an event: %v", err))
	}
	return bus.PathEvents, headers(
		"Content-Type", "application/json",
		"User-Agent", "CloudPubSub-Google",
	), data
}
