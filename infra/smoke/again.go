package smoke

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

// again runs a canceled task again, twice: that must make one task. A2A has no such operation, so
// it is fine if the agent has none.
func (b *binding) again(ctx context.Context) (string, error) {
	task, err := b.begin(ctx, b.ask())
	if err != nil {
		return "", err
	}
	got, _ := b.tryCancel(ctx, task.ID)
	if got == nil || got.Status.State != a2a.TaskStateCanceled {
		b.leave(ctx, task)
		return "", omission("") // it was answered first, or the check of cancel has told of it
	}

	first, err := b.rerun(ctx, task.ID)
	if err != nil {
		return "", err
	}
	defer b.leave(ctx, &a2a.Task{ID: first})
	switch second, err := b.rerun(ctx, task.ID); {
	case err != nil:
		return "", err
	case second != first || first == task.ID:
		return "", wrong(nil, "the task %s was run again as %s, and then as %s", quote(string(task.ID)), quote(string(first)), quote(string(second)))
	}
	if now, err := b.client.GetTask(ctx, &a2a.GetTaskRequest{ID: first}); err != nil || now.ContextID != got.ContextID {
		return "", wrong(nil, "the task that was run again cannot be read, or has another context")
	}
	return fmt.Sprintf("task %s runs it again, asked once or twice", quote(string(first))), nil
}

// rerun asks for a task to be run again, and returns the id of the new one.
func (b *binding) rerun(ctx context.Context, id a2a.TaskID) (a2a.TaskID, error) {
	at := b.base.JoinPath("tasks", string(id)+":rerun").String()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at, strings.NewReader("{}"))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := b.run.client.Do(req)
	if err != nil {
		if a, ok := errors.AsType[*answer](err); ok && a.status < http.StatusInternalServerError {
			return "", omission("")
		}
		return "", err
	}
	defer resp.Body.Close()

	var made struct {
		Task a2a.TaskID `json:"taskId"`
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err == nil {
		err = json.Unmarshal(text, &made)
	}
	if err != nil || resp.StatusCode != http.StatusOK || made.Task == "" {
		return "", omission("")
	}
	return made.Task, nil
}
