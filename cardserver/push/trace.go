package push

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"

	"errand/cardserver/api"
	"errand/cardserver/trace"
	"errand/shared/serve"
	"errand/shared/task"
)

// trace shows a caller, an operator included, what a task of its own did. The answer has the
// content of calls, of which no log and no error may have any.
func (a *API) trace(q *api.Call) error {
	query, err := q.Query("after")
	if err != nil {
		return err
	}
	var from trace.Cursor
	if text := query.Get("after"); text != "" {
		if from, err = trace.ParseCursor(text); err != nil {
			return api.Invalid("after", "must be the number of a step, or the next of the page before")
		}
	}

	r, err := a.own(q)
	switch {
	case errors.Is(err, task.ErrDeleted):
		return &api.Problem{Status: http.StatusNotFound, Detail: "the task was deleted by its owner"}
	case errors.Is(err, task.ErrNotFound):
		return &api.Problem{Status: http.StatusNotFound, Detail: "there is no such task"}
	case err != nil:
		return err
	}

	p, err := trace.ReadPage(q.Context(), a.cfg.KV, r, from)
	if err != nil {
		return err
	}

	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false) // the arguments of a call as they were sent
	if err := enc.Encode(trace.Assemble(r, p, a.cfg.Desk.Now(), func(t task.Try) string { return classOf(q, t) })); err != nil {
		return errors.New("encoding a trace") // the cause may quote content
	}
	serve.Answer{Status: http.StatusOK, Type: "application/json", Body: text.Bytes(), Timeout: api.WriteFor}.For(q.Request).Write(q.W)
	return nil
}
