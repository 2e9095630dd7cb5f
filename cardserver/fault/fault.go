// Package fault says what callers of the doors to batches and files are told of an error, and by
// which status. It is the same for all of these doors, and each has its own way to write it.
package fault

import (
	"errors"
	"fmt"
	"net/http"
	"syscall"
	"time"

	"errand/cardserver/api"
	"errand/shared/auth"
	"errand/shared/batch"
	"errand/shared/batchdesk"
	"errand/shared/desk"
	"errand/shared/task"
)

// faults are what callers are told of the errors of the desk of batches and of the desk. An
// error is compared with them in this order.
var faults = []struct {
	is    error
	fault error
}{
	{batchdesk.ErrTaken, problem(http.StatusConflict, "name", "a batch of this name was deleted by its owner: give this one another name")},
	{task.ErrNotFound, problem(http.StatusNotFound, "", "there is no such batch")},
	{task.ErrInbox, problem(http.StatusConflict, "", "too many messages wait for this batch: wait for it to take them")},
	{task.ErrTooLarge, problem(http.StatusBadRequest, "", "the submission is too large: shorten what it says")},
	{task.ErrFull, full},
	{syscall.ENOSPC, full},

	{batchdesk.ErrInput, problem(http.StatusBadRequest, "input", "input names no file or object that you may read")},
	{batchdesk.ErrEnded, problem(http.StatusConflict, "", "the batch has ended")},
	{batchdesk.ErrRunning, problem(http.StatusConflict, "", "the batch is not complete: wait until it has ended and its files are whole")},
	{batchdesk.ErrStopping, &api.Problem{Status: http.StatusConflict, Detail: "the batch is being stopped, and goes on when that is done: try again", After: time.Second}},
	{batchdesk.ErrNothing, problem(http.StatusConflict, "", "no line of the batch failed that could run again; a manifest that was refused is corrected, and submitted under another name")},
	{batchdesk.ErrDropped, problem(http.StatusConflict, "", "this output of the batch was deleted by its owner")},
	{batchdesk.ErrLate, &api.Problem{Status: http.StatusServiceUnavailable, Detail: "the submission took too long; try again", After: time.Second}},
	{batchdesk.ErrActive, auth.Limited("batches", time.Minute, fmt.Sprintf("%d of your batches have not ended, and no more may; wait for one of them, or cancel one", batch.MaxActive))},
}

func problem(status int, field, detail string) error {
	return &api.Problem{Status: status, Detail: detail, Field: field}
}

// Of turns an error of the desk of batches, of uploads or of the desk into a *api.Problem or an
// *auth.Refusal for the caller; nil: the fault is ours.
func Of(err error) error {
	if f, ok := errors.AsType[*batchdesk.FieldError](err); ok {
		return problem(http.StatusBadRequest, f.Field, f.Error())
	}
	if m, ok := errors.AsType[*desk.Mismatch](err); ok {
		return problem(http.StatusConflict, m.Field, "a batch of this name was submitted with another "+m.Field+": give this one another name")
	}
	for _, f := range faults {
		if errors.Is(err, f.is) {
			return f.fault
		}
	}
	return Files(err)
}
