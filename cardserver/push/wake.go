package push

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"errand/cardserver/api"
	"errand/shared/audit"
	"errand/shared/keys"
	"errand/shared/task"
)

// wakeRoute is the operation by which a service outside wakes a call (R16h). Its signature is
// the right to it: there is no caller.
const wakeRoute = "POST /wake/{task}/{life}/{call}"

// errTold says that a change would change nothing. So the desk adds no job either: the first
// POST has, or the sweep does.
var errTold = errors.New("the call was told before, or too late")

// wake wakes a call that waits for a word from outside. The answer does not tell whether the
// call still waits. The request carries no data, and its body is not read.
func (a *API) wake(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if r.Method != http.MethodPost { // a preview of a link wakes nothing
		w.Header().Set("Allow", http.MethodPost)
		a.rows.Fail(w, r, &api.Problem{Status: http.StatusMethodNotAllowed, Detail: "this is asked with POST"})
		return
	}

	line := audit.Of(r.Context())
	line.Operation(wakeRoute, true)
	ring, err := a.cfg.Keys.Ring(r.Context())
	if err != nil {
		a.rows.Fail(w, r, err)
		return
	}

	key := strings.TrimPrefix(r.URL.Path, keys.WakePath)
	id, step, call, ok := parseCall(key)
	signature := r.URL.Query().Get("s")
	genuine := ring.Wakes(key, signature)
	if batch, _, item := task.ItemOf(id); item {
		genuine = ring.WakesItem(batch, key, signature)
	}
	if !genuine || !ok {
		a.rows.Fail(w, r, &api.Problem{Status: http.StatusNotFound, Detail: "there is nothing here"})
		return
	}

	line.Task(id)
	switch err := a.tell(r, id, key, step, call); {
	case err == nil:
		line.Status(http.StatusNoContent)
		line.Done()
	case errors.Is(err, errTold), errors.Is(err, task.ErrNotFound):
		line.Operation(wakeRoute, false)
	default:
		a.rows.Fail(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// tell commits the word for a call. A call of an earlier life of the task is told too late.
func (a *API) tell(q *http.Request, id, key string, step, call int) error {
	_, err := a.cfg.Desk.ChangeByID(q.Context(), id, func(r task.Record, now task.Moment) (task.Record, bool, error) {
		if r.WakeName(step, call) != key {
			return r, false, errTold
		}
		next, changed, err := r.Tell(now, step, call)
		if err == nil && !changed {
			err = errTold
		}
		return next, changed, err
	})
	return err
}

// parseCall reads the key of a call: TASK/LIFE/STEP.CALL.
func parseCall(key string) (id string, step, call int, ok bool) {
	parts := strings.Split(key, "/")
	if len(parts) != 3 {
		return "", 0, 0, false
	}
	of, in, _ := strings.Cut(parts[2], ".")
	step, serr := strconv.Atoi(of)
	call, cerr := strconv.Atoi(in)
	return parts[0], step, call - 1, serr == nil && cerr == nil
}
