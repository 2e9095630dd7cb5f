package batches

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/batch"
	"errand/shared/task"
	"errand/worker/run"
)

// report stores the state and tells the client how far the batch is, every few seconds.
func (w *work) report(ctx context.Context) error {
	if !w.due() {
		return nil
	}
	if err := w.save(ctx); err != nil {
		return err
	}
	w.sayProgress()
	return nil
}

// sayProgress tells the client how far the batch is, unless it knows.
func (w *work) sayProgress() {
	if text := batch.ViewOf(w.r, w.st, w.now()).Summary(w.now()); text != w.said {
		w.said = text
		w.say(w.status(a2a.TaskStateWorking, text))
	}
}

// sayNow tells the client how far the batch is, and commits that: who waits for the end of the
// scan sees the record change. An error of the store is for the next commit, which has it too.
func (w *work) sayNow(ctx context.Context) error {
	w.sayProgress()
	if err := w.flush(ctx); errors.Is(err, task.ErrFenced) {
		return err
	}
	return nil
}

func (w *work) status(state a2a.TaskState, text string) *a2a.TaskStatusUpdateEvent {
	return a2a.NewStatusUpdateEvent(w.ec, state, a2a.NewMessage(a2a.MessageRoleAgent, task.TextPart(text)))
}

// ask has the batch wait for its client, who has to raise the budget.
func (w *work) ask(say string) a2a.Event {
	if w.st.Open > 0 {
		say += fmt.Sprintf(" Tasks that have begun go on: %d have not ended.", w.st.Open)
	}
	return w.status(a2a.TaskStateInputRequired, say)
}

// outOfTokens parks a batch whose owner has used up the tokens of the day.
func (w *work) outOfTokens(wait time.Duration) error {
	wait = min(wait, max(0, w.spec.Deadline.Sub(w.now())))
	return &run.Pause{
		For: wait, Err: errors.New("the tokens of the day are used up"),
		Say: "The batch waits, because your tokens of today are used up. It goes on by itself.",
	}
}

// summary tells a client how a batch has ended.
func (w *work) summary() string {
	v := batch.ViewOf(w.r, w.st, w.now())
	v.Rate, v.ETA = 0, time.Time{} // its record does not say yet that it has
	return v.Summary(w.now())
}

// metadata are the counts of a batch that has ended, for programs.
func (w *work) metadata() map[string]any {
	return map[string]any{"batch": map[string]any{
		"lines": float64(w.st.Lines), "bad": float64(w.st.Bad), "completed": float64(w.st.Counts.Completed), "failed": float64(w.st.Counts.Failed),
	}}
}
