package setup

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"errand/shared/bus"
	"errand/shared/local"
	"errand/shared/queue"
	"errand/shared/task"
)

// Local is the queue and the bus of one process.
type Local struct {
	Queue queue.Queue
	Bus   bus.Publisher
	queue *local.Queue
	bus   *local.Bus
}

// deliverySlots are many, because a delivery does little but wait for a receiver: eight
// at each of a few hosts that hang must not keep all others waiting.
const deliverySlots = 256

// Connect makes the queue and the bus that deliver to h, which is never listened
// on. refill is asked to put back what a full queue had to drop.
func Connect(h http.Handler, refill func(ctx context.Context, lane string), log *slog.Logger) *Local {
	l := &Local{
		queue: local.NewQueue(local.QueueConfig{Handler: h, Refill: refill, Log: log, Lanes: map[string]local.Limits{
			task.Turns: {}, task.Deliveries: {Slots: deliverySlots},
		}}),
		bus: local.NewBus(local.BusConfig{Handler: h, Subscriptions: []string{"notify"}, Log: log}),
	}
	l.Queue, l.Bus = l.queue, l.bus
	return l
}

// Close ends both; deliveries under way may end by themselves until ctx is done.
func (l *Local) Close(ctx context.Context) error {
	return errors.Join(l.queue.Close(ctx), l.bus.Close(ctx))
}
