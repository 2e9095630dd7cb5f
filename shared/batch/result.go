package batch

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/dialect"
	"errand/shared/task"
)

// A Fault is the reason for which a line has no answer, as its error line tells it.
type Fault struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Codes of lines that have no answer although they could run. The others are those of bad lines.
const (
	FaultFailed   = "failed"
	FaultRejected = "rejected"
	FaultCanceled = "canceled"
	FaultDeleted  = "deleted"
	FaultLost     = "unreadable"
	FaultOpen     = "not_ended"
	FaultExpired  = "batch_expired"   // OpenAI's word
	FaultStopped  = "batch_cancelled" // OpenAI's word
)

// Faults of lines without a record that can be read.
var (
	// Expired is the fault of a line that had not ended when the batch's deadline came.
	Expired = Fault{FaultExpired, "The line had no answer when the deadline of the batch came: run it in another batch, with more time."}
	// Stopped is the fault of a line that had not ended when the batch was canceled.
	Stopped = Fault{FaultStopped, "The line had no answer when the batch was canceled."}
	// Aborted is the fault of a line that had not ended when the batch failed.
	Aborted = Fault{FaultFailed, "The line had no answer when the batch failed."}
	// Deleted is the fault of a line whose task was deleted.
	Deleted = Fault{FaultDeleted, "The task of the line was deleted."}
	// Lost is the fault of a line whose task cannot be read.
	Lost = Fault{FaultLost, "The task of the line cannot be read: run the line again in another batch."}
)

// ours is a line of results or errors in the dialect Errand.
type ours struct {
	ID        string          `json:"id,omitempty"` // a line whose id cannot be read has none
	Line      int             `json:"line"`
	Task      string          `json:"task,omitempty"` // the line that did not run has none
	State     a2a.TaskState   `json:"state,omitempty"`
	Text      *string         `json:"text,omitempty"`
	Error     *Fault          `json:"error,omitempty"`
	Artifacts []*a2a.Artifact `json:"artifacts,omitempty"` // if they are not only text
	Usage     map[string]any  `json:"usage,omitempty"`
}

// theirs is a line of results or errors in the dialect OpenAI.
type theirs struct {
	ID       string    `json:"id"` // theirPrefix and the id of the item's task
	CustomID string    `json:"custom_id"`
	Response *response `json:"response"`
	Error    *Fault    `json:"error"`
}

type response struct {
	Status    int        `json:"status_code"`
	RequestID string     `json:"request_id"`
	Body      completion `json:"body"`
}

type completion struct {
	ID        string          `json:"id"`
	Object    string          `json:"object"`
	Created   int64           `json:"created"`
	Model     string          `json:"model"`
	Choices   []choice        `json:"choices"`
	Usage     *tokens         `json:"usage,omitempty"`
	Artifacts []*a2a.Artifact `json:"artifacts,omitempty"` // not OpenAI's: what a text cannot tell
}

type choice struct {
	Index   int `json:"index"`
	Message struct {
		Role    string  `json:"role"`
		Content *string `json:"content"`
		Refusal *string `json:"refusal"`
	} `json:"message"`
	Logprobs *struct{} `json:"logprobs"`
	Finish   string    `json:"finish_reason"`
}

type tokens struct {
	Prompt     int64 `json:"prompt_tokens"`
	Completion int64 `json:"completion_tokens"`
	Total      int64 `json:"total_tokens"`
	Read       struct {
		Cached int64 `json:"cached_tokens"`
	} `json:"prompt_tokens_details"`
	Written struct {
		Reasoning int64 `json:"reasoning_tokens"`
	} `json:"completion_tokens_details"`
}

const theirPrefix = "batch_req_"

// ResultLine returns the line that tells how an item ended, with its end of line, and whether
// it belongs into the errors file. id is that of the manifest's line, and model the name of the
// model, for a record that does not tell one. The same record gives the same bytes.
//
// Only a completed task is a result. One that failed, or was rejected, canceled or deleted, is
// an error. A task that waits for its client has not ended: its question can be answered over
// A2A, as that of any task, and the end of the batch cancels it. It gets a line only if its
// caller cannot wait any longer.
func ResultLine(d Dialect, id string, r task.Record, model string) (line []byte, failed bool) {
	batch, n, _ := r.Item()
	if r.Deleted {
		return ErrorLine(d, batch, n, id, Deleted), true
	}
	fault := faultOf(r)
	said, whole := words(r)

	var v any
	if d == OpenAI {
		t := theirs{ID: theirPrefix + r.ID(), CustomID: id, Error: fault}
		if fault == nil {
			t.Response = &response{Status: 200, RequestID: r.ID(), Body: completed(r, said, whole, model)}
		}
		v = t
	} else {
		o := ours{ID: id, Line: n, Task: r.ID(), State: r.State(), Error: fault}
		if said != "" || fault == nil {
			o.Text = &said
		}
		if !whole {
			o.Artifacts = r.Task.Artifacts
		}
		if r.Spent.Replies > 0 || r.Spent.Unknown > 0 {
			o.Usage = r.Spent.Usage(modelOf(r, model))
		}
		v = o
	}

	line, err := dialect.V1.Append(nil, v)
	if err != nil { // a record that was stored always encodes
		return ErrorLine(d, batch, n, id, Lost), true
	}
	return append(line, '\n'), fault != nil
}

// ErrorLine returns the error line of a line that has no record which can be read, with its end
// of line. An empty id is unknown.
func ErrorLine(d Dialect, batch string, n int, id string, f Fault) []byte {
	var v any = ours{ID: id, Line: n, Error: &f}
	if d == OpenAI {
		v = theirs{ID: theirPrefix + task.ItemID(batch, n), CustomID: id, Error: &f}
	}
	line, err := dialect.V1.Append(nil, v)
	if err != nil { // texts always encode
		panic(err)
	}
	return append(line, '\n')
}

// Fault is the fault of a line that could not run.
func (b Bad) Fault() Fault { return Fault{Code: b.Code, Message: b.Reason} }

// Unrun is the fault of a line that had not ended when its batch did: by the deadline, by a
// cancellation, or because it failed.
func Unrun(batch task.Record, spec Spec) Fault {
	switch {
	case batch.State() == a2a.TaskStateCanceled:
		return Stopped
	case !spec.Deadline.IsZero() && !batch.Stamp().Before(spec.Deadline):
		return Expired
	}
	return Aborted
}

// LineOfResult returns the number of the line that a line of a results or errors file is for.
func LineOfResult(d Dialect, line []byte) (n int, err error) {
	var v struct {
		ID   any `json:"id"`
		Line int `json:"line"`
	}
	if err := json.Unmarshal(line, &v); err != nil {
		return 0, fmt.Errorf("reading a line of results: %w", err)
	}
	n = v.Line
	if id, ok := v.ID.(string); ok && d == OpenAI {
		_, n, _ = task.ItemOf(strings.TrimPrefix(id, theirPrefix))
	}
	if n < 1 {
		return 0, fmt.Errorf("a line of results in the form of %s does not tell its number", d.name())
	}
	return n, nil
}

// FaultOfResult returns what a line of an errors file tells, and the number of the line that it is
// for.
func FaultOfResult(d Dialect, line []byte) (n int, f Fault, err error) {
	var v struct {
		Error Fault `json:"error"`
	}
	if n, err = LineOfResult(d, line); err != nil {
		return 0, f, err
	}
	if err := json.Unmarshal(line, &v); err != nil {
		return 0, f, fmt.Errorf("reading a line of errors: %w", err)
	}
	return n, v.Error, nil
}

// faultOf is nil for a completed task.
func faultOf(r task.Record) *Fault {
	f := &Fault{Message: "The task has no message that tells why."}
	switch r.State() {
	case a2a.TaskStateCompleted:
		return nil
	case a2a.TaskStateFailed:
		f.Code = FaultFailed
	case a2a.TaskStateRejected:
		f.Code = FaultRejected
	case a2a.TaskStateCanceled:
		f.Code = FaultCanceled
	default:
		f.Code, f.Message = FaultOpen, "The task has not ended."
	}
	if m := r.Task.Status.Message; m != nil {
		if s := joined(m.Parts); s != "" {
			f.Message = s
		}
	}
	return f
}

// words is the text of an answer. whole reports whether it is the whole answer. An answer
// without a text is its data, as JSON, and one without artifacts is the status message of a
// completed task.
func words(r task.Record) (text string, whole bool) {
	whole = true
	var texts, data []string
	for _, a := range r.Task.Artifacts {
		if a == nil {
			continue
		}

		for _, p := range a.Parts {
			switch c := p.Content.(type) {
			case a2a.Text:
				whole = whole && p.Filename == ""
			case a2a.Data:
				whole = false
				if b, err := dialect.V1.Append(nil, c.Value); err == nil {
					data = append(data, string(b))
				}
			default:
				whole = false
			}
		}

		if s := joined(a.Parts); s != "" {
			texts = append(texts, s)
		}
	}

	if len(texts) == 0 {
		texts = data
	}
	if m := r.Task.Status.Message; len(r.Task.Artifacts) == 0 && r.State() == a2a.TaskStateCompleted && m != nil {
		texts = []string{joined(m.Parts)}
	}
	return strings.Join(texts, "\n\n"), whole
}

// joined is the text of parts.
func joined(parts a2a.ContentParts) string {
	var all []string
	for _, p := range parts {
		if s := p.Text(); s != "" {
			all = append(all, s)
		}
	}
	return strings.Join(all, "\n\n")
}

// completed is the answer in OpenAI's form. The agent's tools are its own, so every answer has
// come to its end.
func completed(r task.Record, said string, whole bool, model string) completion {
	c := completion{ID: "chatcmpl-" + r.ID(), Object: "chat.completion", Created: r.Stamp().Unix(), Model: modelOf(r, model), Choices: make([]choice, 1)}
	c.Choices[0].Message.Role, c.Choices[0].Finish = "assistant", "stop"
	if said != "" {
		c.Choices[0].Message.Content = &said
	}
	if !whole {
		c.Artifacts = r.Task.Artifacts
	}
	if s := r.Spent; s.Replies > 0 {
		u := &tokens{Prompt: s.Prompt, Completion: s.Output + s.Thought, Total: s.Tokens()}
		u.Read.Cached, u.Written.Reasoning = s.Cached, s.Thought
		c.Usage = u
	}
	return c
}

// modelOf is the name of the model that answered.
func modelOf(r task.Record, otherwise string) string {
	var usage struct {
		Model string `json:"model"`
	}
	if remarshal(r.Task.Metadata["usage"], &usage) == nil && usage.Model != "" {
		return usage.Model
	}
	return otherwise
}
