package batches

import (
	"context"
	"fmt"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/task"
	"errand/worker/run"
)

// report stores the state, and tells the client how far the batch is, every few seconds.
func (w *work) report(ctx context.Context) (a2a.Event, error) {
	if !w.due() {
		return nil, nil
	}
	if err := w.save(ctx); err != nil {
		return nil, err
	}
	if text := w.progress(); text != w.said {
		w.said = text
		w.say(a2a.NewStatusUpdateEvent(w.ec, a2a.TaskStateWorking, a2a.NewMessage(a2a.MessageRoleAgent, task.TextPart(text))))
	}
	return nil, nil
}

func (w *work) progress() string {
	return fmt.Sprintf("%d of %d lines, %.0f/s", w.st.Ended(), w.st.Lines, w.st.Rate)
}

func (w *work) summary() string {
	return fmt.Sprintf("%d lines: %d have an answer, %d do not.", w.st.Lines, w.st.Counts.Completed, w.st.Counts.Failed)
}

func (w *work) metadata() map[string]any {
	return map[string]any{"batch": map[string]any{
		"lines": float64(w.st.Lines), "completed": float64(w.st.Counts.Completed), "failed": float64(w.st.Counts.Failed),
	}}
}

// outOfTokens parks a batch whose owner has used up the tokens of the day.
func (w *work) outOfTokens(wait time.Duration) error {
	return &run.Pause{For: wait, Err: fmt.Errorf("the tokens of the day are used up"), Say: "The batch waits: your tokens of today are used up."}
}
