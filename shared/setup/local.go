package setup

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"errand/shared/adapters/local"
	"errand/shared/bus"
	"errand/shared/queue"
)

// Local is the queue and the bus of one process.
type Local struct {
	Queue queue.Queue
	Bus   bus.Publisher
	queue *local.Queue
	bus   *local.Bus
}

// Connect makes the queue and the bus that deliver to h, without a listener. A queue calls
// refill for the jobs that it had to drop while it was full. turns is the number of turns
// that run at once, and of items of batches beside them; 0: as many as the lane has slots.
// most returns how many of each may be an owner's; nil: only its share counts.
func Connect(h http.Handler, refill func(ctx context.Context, lane string), turns int, most func(owner string) int64, log *slog.Logger) *Local {
	lanes := map[string]local.Limits{}
	for _, l := range queue.Lanes() {
		limits := local.Limits{Slots: l.Slots, Deadline: l.Deadline}
		if l.Name == queue.Turns || l.Name == queue.Bulk {
			limits.Most = most
			if turns > 0 {
				limits.Slots = turns
			}
		}
		lanes[l.Name] = limits
	}
	l := &Local{
		queue: local.NewQueue(local.QueueConfig{Handler: h, Refill: refill, Log: log, Lanes: lanes}),
		bus:   local.NewBus(local.BusConfig{Handler: h, Subscriptions: []string{"notify"}, Log: log}),
	}
	l.Queue, l.Bus = l.queue, l.bus
	return l
}

// Close ends both; deliveries under way may end by themselves until ctx is done.
func (l *Local) Close(ctx context.Context) error {
	return errors.Join(l.queue.Close(ctx), l.bus.Close(ctx))
}
