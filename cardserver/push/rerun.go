package push

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"errand/cardserver/api"
	"errand/shared/audit"
	"errand/shared/auth"
	"errand/shared/desk"
	"errand/shared/steps"
	"errand/shared/task"
	"errand/shared/uploads"
)

// rerun runs a task of the caller's again that did not succeed.
func (a *API) rerun(q *api.Call) error {
	var in struct {
		Anew     bool `json:"anew"`
		Webhooks bool `json:"webhooks"`
	}
	if err := read(q, &in); err != nil {
		return err
	}

	if in.Webhooks {
		if a.cfg.NoWebhooks {
			return api.Invalid("webhooks", "cannot be taken over: this agent takes no webhooks (capabilities.pushNotifications of its card); leave it out")
		}
		if err := q.Caller.May(auth.Webhooks); err != nil {
			return err
		}
	}

	id := named(q)
	r, err := a.cfg.Desk.Rerun(q.Context(), desk.Rerun{
		Owner: q.Caller.Owner, Task: id, Anew: in.Anew, Webhooks: in.Webhooks, Prepare: a.keepFiles,
	})
	if err != nil {
		return rerunFault(r, err)
	}

	audit.Of(q.Context()).Owner(r.Owner)
	return q.JSON(http.StatusOK, rerunView{Task: r.ID(), Context: r.Task.ContextID, State: string(r.State()), Reruns: id, Steps: r.Inherited()})
}

// rerunFault is the answer to a rerun that cannot be. made is the task that was made by another
// request.
func rerunFault(made task.Record, err error) error {
	conflict := func(format string, args ...any) error {
		return &api.Problem{Status: http.StatusConflict, Detail: fmt.Sprintf(format, args...)}
	}

	switch {
	case errors.Is(err, task.ErrDeleted):
		return &api.Problem{Status: http.StatusNotFound, Detail: "the task, or the one that ran it again, was deleted by its owner"}
	case errors.Is(err, task.ErrNotFound):
		return &api.Problem{Status: http.StatusNotFound, Detail: "there is no such task"}
	case errors.Is(err, task.ErrOpen):
		return conflict("the task has not ended: cancel it first, or send it another message")
	case errors.Is(err, task.ErrSucceeded):
		return conflict("the task has succeeded: send a new message in its context")
	case errors.Is(err, task.ErrItem):
		return conflict("the lines of a batch are run again with POST /batches/{batch}:retry")

	case errors.Is(err, task.ErrReruns):
		return conflict("the task is the last of 64 that ran each other again: send a new message")
	case errors.Is(err, task.ErrLate):
		return conflict("the task expires too soon to go on from its steps: run it again with anew, or send a new message")
	case errors.Is(err, task.ErrTooLarge):
		return conflict("the task is too large to be run again: send a new message")
	case errors.Is(err, desk.ErrRerun):
		return conflict("the task was run again already, as %s, with another value of anew: if that did not succeed, run that one again", made.ID())
	case errors.Is(err, task.ErrFull):
		return &api.Problem{Status: http.StatusServiceUnavailable, Detail: "the agent has no room for new messages; try again later", After: 30 * time.Second}
	}
	return err
}

// keepFiles keeps the files that the messages of a task name. One that was deleted is told of when
// the task runs.
func (a *API) keepFiles(ctx context.Context, r task.Record) error {
	if a.cfg.Files == nil {
		return nil
	}
	for _, m := range r.View().History {
		for _, p := range m.Parts {
			file, ok := task.FileIn(p)
			if !ok {
				continue
			}
			if _, err := a.cfg.Files.Keep(ctx, r.Owner, file, r.ID(), time.Time{}); err != nil && !errors.Is(err, uploads.ErrNotFound) {
				return err
			}
		}
	}
	return nil
}

// bring copies the steps of a task that is about to be deleted to each rerun that goes on from
// them and has not done so yet.
func (a *API) bring(ctx context.Context, owner, id string) error {
	for rerun := task.RerunID(owner, id); ; rerun = task.RerunID(owner, rerun) {
		r, err := task.Find(ctx, a.cfg.Store, owner, rerun)
		if errors.Is(err, task.ErrDeleted) {
			continue
		}
		if errors.Is(err, task.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}

		o, ok := r.Origin()
		if !ok || o.Task != id {
			return nil
		}
		if o.Brought {
			continue
		}
		if err := steps.Copy(ctx, a.cfg.KV, o.Prefix(), r.StepPrefix(), o.Steps, o.Turn); err != nil {
			return err
		}
		_, err = a.cfg.Desk.ChangeByID(ctx, r.ID(), func(r task.Record, m task.Moment) (task.Record, bool, error) { return r.Bring(m) })
		if err != nil && !errors.Is(err, task.ErrNotFound) {
			return err
		}
	}
}
