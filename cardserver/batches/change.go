package batches

import (
	"net/http"

	"errand/cardserver/api"
	"errand/shared/batch"
	"errand/shared/batchdesk"
)

// pause has a batch begin no further items.
func (a *API) pause(q *api.Call) error {
	id := named(q)
	if err := a.nothing(q); err != nil {
		return err
	}
	return a.changed(q)(a.cfg.Batches.Pause(q.Context(), q.Caller.Owner, id))
}

// resume has a batch go on, with another budget if the request names one.
func (a *API) resume(q *api.Call) error {
	id := named(q)
	if _, err := q.Query(); err != nil {
		return err
	}
	var in struct {
		Budget *batch.Budget `json:"budget"`
	}
	if err := q.Read(&in, maxBody, DescriptionPath); err != nil {
		return err
	}
	return a.changed(q)(a.cfg.Batches.Resume(q.Context(), q.Caller.Owner, id, in.Budget))
}

// retry makes a batch of the lines that failed.
func (a *API) retry(q *api.Call) error {
	id := named(q)
	if err := a.nothing(q); err != nil {
		return err
	}
	b, made, err := a.cfg.Batches.Retry(q.Context(), q.Caller.Owner, id)
	if err != nil {
		return err
	}
	return a.answer(q, b, made)
}

// nothing refuses a request that says more than its path.
func (a *API) nothing(q *api.Call) error {
	if _, err := q.Query(); err != nil {
		return err
	}
	return q.Read(&struct{}{}, maxBody, DescriptionPath)
}

// changed answers with the batch after a change.
func (a *API) changed(q *api.Call) func(batchdesk.Batch, error) error {
	return func(b batchdesk.Batch, err error) error {
		if err != nil {
			return err
		}
		return q.JSON(http.StatusOK, a.view(b))
	}
}
