package smoke

import (
	"context"
	"fmt"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

// stream sends a message and follows its task to the end.
func (b *binding) stream(ctx context.Context) (string, error) {
	switch {
	case !b.card.Capabilities.Streaming:
		return "", omission("the card declares no streaming")
	case b.stuck:
		return "", omission("a task did not end before")
	}

	var seen watched
	began := time.Now()

	for event, err := range b.client.SendStreamingMessage(ctx, b.ask()) {
		if err != nil && ctx.Err() != nil {
			break
		}
		if err != nil && seen.events == 0 {
			return "", err
		}

		if err != nil {
			b.leave(ctx, seen.task)
			return "", seen.cut(err)
		}

		if seen.events == 0 {
			seen.first = time.Since(began)
		}

		if err := seen.take(event); err != nil {
			b.leave(ctx, seen.task)
			return "", err
		}
	}

	switch {
	case seen.message:
		return "", remark(noTask)
	case seen.task != nil && over(seen.task.Status.State):
	case ctx.Err() != nil:
		b.stuck = true
		b.leave(ctx, seen.task)
		return "", b.slow(&seen)
	default:
		b.leave(ctx, seen.task)
		return "", seen.cut(nil)
	}

	if _, err := b.ended(ctx, seen.task); err != nil {
		return "", err
	}

	return fmt.Sprintf("%d events, the first after %d ms, the last says %s",
		seen.events, seen.first.Milliseconds(), state(seen.task.Status.State)), nil
}

// watched is the state of a stream so far.
type watched struct {
	events  int
	first   time.Duration
	message bool
	task    *a2a.Task // only its id and status are kept up to date
}

// take judges an event by the events before it. Section 3.1.2 of the specification: a
// stream begins with the task and ends when the task does, or it is one message and nothing
// more.
func (w *watched) take(event a2a.Event) error {
	w.events++
	switch e := event.(type) {
	case *a2a.Message:
		if w.message = w.events == 1; !w.message {
			return wrong(nil, "event %d of the stream is a message; after a task only its updates may follow", w.events)
		}
		return nil
	case *a2a.Task:
		w.task = e
		return nil
	}
	if w.task == nil {
		return wrong(nil, "the stream begins with a %T; A2A requires the task first", event)
	}
	if e, ok := event.(*a2a.TaskStatusUpdateEvent); ok {
		w.task.Status = e.Status
	}
	return nil
}

func (w *watched) last() string {
	if w.task == nil {
		return "there was no task"
	}
	return "the task was " + state(w.task.Status.State)
}
