package push

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"

	"errand/cardserver/trace"
	"errand/shared/serve"
	"errand/shared/task"
)

// trace shows a caller, an operator included, what a task of its own did. The answer has the
// content of calls, of which no log and no error may have any.
func (a *API) trace(q *call) error {
	if err := q.only("after"); err != nil {
		return err
	}
	var from trace.Cursor
	if text := q.URL.Query().Get("after"); text != "" {
		var err error
		if from, err = trace.ParseCursor(text); err != nil {
			return invalid("after", "must be the number of a step, or the next of the page before")
		}
	}

	r, err := a.own(q)
	switch {
	case errors.Is(err, task.ErrDeleted):
		return &problem{Status: http.StatusNotFound, Detail: "the task was deleted by its owner"}
	case errors.Is(err, task.ErrNotFound):
		return &problem{Status: http.StatusNotFound, Detail: "there is no such task"}
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
	if err := enc.Encode(trace.Assemble(r, p, a.cfg.Desk.Now(), q.classOf)); err != nil {
		return errors.New("encoding a trace") // the cause may quote content
	}
	serve.Answer{Status: http.StatusOK, Type: "application/json", Body: text.Bytes(), Timeout: writeFor}.Write(q.w)
	return nil
}
