package openai

import (
	"context"
	"fmt"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/batch"
	"errand/shared/batchdesk"
	"errand/shared/task"
)

// A batchView is a batch as OpenAI's clients read it. What is not known is null.
type batchView struct {
	ID       string      `json:"id"`
	Object   string      `json:"object"` // batch
	Endpoint string      `json:"endpoint"`
	Errors   *errorsView `json:"errors"` // of a manifest that is no batch
	Input    string      `json:"input_file_id"`
	Window   string      `json:"completion_window"`
	Status   string      `json:"status"`
	Output   *string     `json:"output_file_id"`
	Failures *string     `json:"error_file_id"`

	Created    int64  `json:"created_at"`
	InProgress *int64 `json:"in_progress_at"`
	Expires    *int64 `json:"expires_at"` // the deadline
	Finalizing *int64 `json:"finalizing_at"`
	Completed  *int64 `json:"completed_at"`
	Failed     *int64 `json:"failed_at"`
	Expired    *int64 `json:"expired_at"`
	Cancelling *int64 `json:"cancelling_at"`
	Cancelled  *int64 `json:"cancelled_at"`

	Counts   countsView        `json:"request_counts"`
	Usage    usageView         `json:"usage"`
	Metadata map[string]string `json:"metadata"`
}

type errorsView struct {
	Object string      `json:"object"` // list
	Data   []faultView `json:"data"`
}

type faultView struct {
	Code    string  `json:"code"`
	Message string  `json:"message"`
	Param   *string `json:"param"`
	Line    *int    `json:"line"` // null: the whole file
}

type countsView struct {
	Total     int `json:"total"`
	Completed int `json:"completed"`
	Failed    int `json:"failed"`
}

type usageView struct {
	Input        int64 `json:"input_tokens"`
	InputDetails struct {
		Cached int64 `json:"cached_tokens"`
	} `json:"input_tokens_details"`
	Output        int64 `json:"output_tokens"`
	OutputDetails struct {
		Reasoning int64 `json:"reasoning_tokens"`
	} `json:"output_tokens_details"`
	Total int64 `json:"total_tokens"`
}

// The words for the states of a batch.
const (
	validating = "validating"
	inProgress = "in_progress"
	finalizing = "finalizing"
	completed  = "completed"
	rejected   = "failed"
	expired    = "expired"
	cancelling = "cancelling"
	cancelled  = "cancelled"
)

// status is the state of a batch in OpenAI's words. One of those that are final says that the
// files are whole too.
func status(b batchdesk.Batch) string {
	state := b.Record.State()
	switch done := b.Complete(); {
	case state == a2a.TaskStateCanceled && done:
		return cancelled
	case state == a2a.TaskStateCanceled:
		return cancelling
	case state == a2a.TaskStateCompleted && done:
		return completed
	case done && b.Stopped():
		return expired
	case done:
		return rejected
	case b.State.Lines == 0, state == a2a.TaskStateRejected:
		return validating
	case ended(b), b.Record.Terminal():
		return finalizing
	}
	return inProgress
}

// ended reports whether every line has an outcome.
func ended(b batchdesk.Batch) bool { return b.State.Lines > 0 && b.State.Ended() >= b.State.Lines }

// view shows a batch.
func (a *API) view(ctx context.Context, b batchdesk.Batch) (batchView, error) {
	s := b.State
	v := batchView{
		ID: b.ID(), Object: "batch", Endpoint: b.Spec.Endpoint, Input: b.Spec.Input.Name(), Window: windowOf(b.Spec), Status: status(b),
		Output: output.of(b), Failures: failed.of(b),
		Created: b.Spec.At.Unix(), InProgress: unix(s.Began), Expires: unix(b.Spec.Deadline),
		Counts: countsView{s.Lines, s.Counts.Completed, s.Counts.Failed}, Usage: usage(s.Counts.Spent), Metadata: b.Spec.Metadata,
	}
	if ended(b) {
		v.Finalizing = unix(s.At)
	}

	stamp := unix(b.Record.Stamp())
	switch v.Status {
	case completed:
		v.Completed = stamp
	case expired:
		v.Expired = stamp
	case cancelling:
		v.Cancelling = stamp
	case cancelled:
		v.Cancelling, v.Cancelled = stamp, stamp
	case rejected:
		v.Failed = stamp
		var err error
		if v.Errors, err = a.errors(ctx, b); err != nil {
			return v, err
		}
	}
	return v, nil
}

// windowOf is the time that a batch was given.
func windowOf(s batch.Spec) string {
	return fmt.Sprintf("%.0fh", s.Deadline.Sub(s.At).Round(time.Hour).Hours())
}

func usage(s task.Spent) (v usageView) {
	v.Input, v.Output, v.Total = s.Prompt, s.Output+s.Thought, s.Tokens()
	v.InputDetails.Cached, v.OutputDetails.Reasoning = s.Cached, s.Thought
	return v
}

// maxErrors is how many lines the object of a failed batch names. Its error file has more.
const maxErrors = 100

// errors tells why a batch failed: its bad lines, or what is wrong with the whole of it.
func (a *API) errors(ctx context.Context, b batchdesk.Batch) (*errorsView, error) {
	v := &errorsView{Object: "list"}
	if b.Record.State() == a2a.TaskStateRejected {
		all, err := a.cfg.Batches.Faults(ctx, b, maxErrors)
		if err != nil {
			return nil, err
		}
		for _, f := range all {
			v.Data = append(v.Data, faultView{Code: f.Code, Message: f.Message, Line: &f.Line})
		}
	}
	if len(v.Data) == 0 {
		v.Data = []faultView{{Code: batch.CodeFile, Message: b.Message()}}
	}
	return v, nil
}
