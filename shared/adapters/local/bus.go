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

// BusConfig says what a Bus needs; only Handler has no default.
type BusConfig struct {
	Handler http.Handler // gets the envelopes, at bus.PathEvents
	// Subscriptions are the names under which every event is delivered, each
	// once; none: events go nowhere, as on a topic without subscriptions.
	Subscriptions []string
	Limits        Limits       // of the one lane of the bus
	Log           *slog.Logger // default: nowhere
}

// A Bus is a bus.Publisher in memory. Its events are lost with the process:
// webhooks survive that, because the records know what they were told.
type Bus struct {
	lane          *lane[letter]
	subscriptions []string
}

var _ bus.Publisher = (*Bus)(nil)

// NewBus returns a Bus that runs until Close.
func NewBus(c BusConfig) *Bus {
	return &Bus{
		lane:          newLane[letter]("events", c.Handler, c.Limits.withDefaults(busMinBackoff), c.Log),
		subscriptions: c.Subscriptions,
	}
}

// Publish hands events over, and never blocks. An error means that the bus is
// closed or has no room for all of them; then it took none, and the turn that
// published them comes back (R7). The end of ctx is not looked at.
func (b *Bus) Publish(ctx context.Context, events ...bus.Event) error {
	now := time.Now()
	items := make([]*item[letter], 0, len(events)*len(b.subscriptions))
	for _, e := range events {
		if e.Trace == "" {
			e.Trace = serve.Trace(ctx)
		}
		for _, s := range b.subscriptions {
			items = append(items, &item[letter]{msg: letter{event: e, subscription: s, published: now}, pos: -1})
		}
	}
	if err := b.lane.add(items...); err != nil {
		return fmt.Errorf("publishing %d events: %w", len(events), err)
	}
	return nil
}

// Close ends the bus as Queue.Close ends a queue.
func (b *Bus) Close(ctx context.Context) error {
	b.lane.stop()
	return b.lane.wait(ctx)
}

// A letter is an event on its way to a subscription.
type letter struct {
	event        bus.Event
	subscription string
	published    time.Time
}

func (l letter) subject() string { return l.event.Task }

func (l letter) post(_ string, t try) (string, http.Header, []byte) {
	data, err := json.Marshal(bus.Push{
		Message:      bus.Message{Attributes: l.event, MessageID: t.name, PublishTime: l.published.UTC()},
		Subscription: l.subscription,
	})
	if err != nil { // strings and one clock's times always encode
		panic(fmt.Sprintf("encoding an event: %v", err))
	}
	return bus.PathEvents, headers(
		"Content-Type", "application/json",
		"User-Agent", "CloudPubSub-Google",
	), data
}
