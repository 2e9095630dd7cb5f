package submit

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"errand/shared/auth"
	"errand/shared/batch"
	"errand/shared/batchdesk"
	"errand/shared/bus"
	"errand/shared/desk"
	"errand/shared/strict"
	"errand/shared/task"
)

// A message is what a letter asks for: one of the two.
type message struct {
	line  batch.Item
	batch *batchdesk.Submission
}

// A refusal says that a letter never becomes a task. The reason names the field and the
// remedy, and tells no content.
type refusal struct {
	field  string // empty: the whole message
	reason string
}

// Error implements error.
func (r *refusal) Error() string { return r.reason }

// read reads a letter: a line of ours, or {"batch": {...}}. The error is a *refusal.
func (s *Submit) read(l bus.Letter) (message, error) {
	text := bytes.TrimSpace(bytes.TrimPrefix(l.Data, []byte("\xef\xbb\xbf"))) // a mark that editors write
	switch {
	case len(text) == 0:
		return message{}, &refusal{"", `the message has no data: it must be a line such as {"id": "a", "text": "Hello"}, or {"batch": {"input": "gs://BUCKET/NAME"}}`}
	case len(text) > batch.MaxLine:
		return message{}, &refusal{"", fmt.Sprintf("the message has more than %d KiB: shorten it, or submit a manifest", batch.MaxLine>>10)}
	}

	if names := fields(text); slices.Contains(names, batch.Key) {
		sub, err := submission(text, l.Published)
		return message{batch: &sub}, err
	} else if d, _ := batch.Detect(1, text); d == batch.OpenAI {
		return message{}, &refusal{"", `the message is a line of OpenAI's: write one of Errand's, {"id", "text"}, or submit a manifest`}
	}

	it, bad := s.cfg.Form.Parse(batch.Errand, 1, text)
	if bad != nil {
		return message{}, &refusal{bad.Field, bad.Reason}
	}
	it.Message.ID = s.messageID(it, l)
	return message{line: it}, nil
}

// messageID returns the id of the message of a line: the same whenever the line comes again.
// No client's own message has it by chance.
func (s *Submit) messageID(it batch.Item, l bus.Letter) string {
	switch {
	case s.cfg.Reused:
	case it.Named:
		return "line/" + it.ID
	case it.Message.ID != "":
		return "line/" + it.Message.ID
	}
	return l.Subscription + "/" + l.ID
}

// fields returns the names of a JSON object's fields, as far as the text is one.
func fields(text []byte) (names []string) {
	d := jsontext.NewDecoder(bytes.NewReader(text), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if begin, err := d.ReadToken(); err != nil || begin.Kind() != jsontext.KindBeginObject {
		return nil
	}
	for d.PeekKind() == jsontext.KindString {
		name, err := d.ReadToken()
		if err != nil {
			return names
		}
		names = append(names, name.String())
		if d.SkipValue() != nil {
			return names
		}
	}
	return names
}

// A named is a manifest's name, as POST /batches takes it.
type named struct {
	Batch struct {
		Input     string        `json:"input"`
		Name      string        `json:"name"`
		Deadline  string        `json:"deadline"`
		OnBadLine string        `json:"onBadLine"`
		Budget    *batch.Budget `json:"budget"`
	} `json:"batch"`
}

// known are the fields of a named.
var known = []string{"input", "name", "deadline", "onBadLine", "budget", "tokens", "price", "currency"}

// submission reads the name of a manifest. A deadline that is a duration counts from when the
// message was published. The error is a *refusal.
func submission(text []byte, published time.Time) (s batchdesk.Submission, err error) {
	var n named
	if err := jsonv2.Unmarshal(text, &n, jsonv2.RejectUnknownMembers(true)); err != nil {
		return s, misspelt(err)
	}
	if n.Batch.Input == "" {
		return s, &refusal{"batch.input", "batch.input is required: the id of a file of yours, or gs://BUCKET/NAME"}
	}

	s = batchdesk.Submission{Input: n.Batch.Input, Name: n.Batch.Name, OnBad: n.Batch.OnBadLine, Budget: n.Batch.Budget}
	if n.Batch.Deadline == "" {
		return s, nil
	}
	if d, err := time.ParseDuration(n.Batch.Deadline); err == nil {
		s.Deadline = published.Add(d).UTC()
		return s, nil
	}
	at, err := time.Parse(time.RFC3339, n.Batch.Deadline)
	if err != nil {
		return s, &refusal{"batch.deadline", "batch.deadline must be a time such as 2026-11-30T06:00:00Z, or a duration such as 6h"}
	}
	s.Deadline = at.UTC()
	return s, nil
}

// misspelt is the refusal of a text that is not a named.
func misspelt(err error) *refusal {
	if e, ok := errors.AsType[*jsonv2.SemanticError](err); ok {
		at := strings.ReplaceAll(strings.TrimPrefix(string(e.JSONPointer), "/"), "/", ".")
		name := at[strings.LastIndex(at, ".")+1:]
		switch unknown := errors.Is(err, jsonv2.ErrUnknownName); {
		case unknown && name == at:
			return &refusal{"", "batch stands beside another field: remove one of them"}
		case unknown:
			// The name is the sender's own text.
			best, distance := strict.Nearest(name, known, strings.ToLower)
			if distance > 2 {
				return &refusal{"batch", "batch has a field that is not known: known are input, name, deadline, onBadLine and budget"}
			}
			return &refusal{"batch", fmt.Sprintf("batch has a field that is not known: did you mean %q?", best)}
		case at != "":
			return &refusal{at, at + " has another type than a batch has: see POST /batches"}
		}
	}
	return &refusal{"", "the message is not one JSON object, or a field occurs twice in it"}
}

// batchFault is the refusal that an error of the desk of batches is, or the error itself if it may go
// away.
func batchFault(err error) error {
	if f, ok := errors.AsType[*batchdesk.FieldError](err); ok {
		return &refusal{"batch." + f.Field, "batch." + f.Error()}
	}
	if m, ok := errors.AsType[*desk.Mismatch](err); ok {
		return &refusal{"batch." + m.Field, "batch.name: a batch of this name was submitted with another " + m.Field + ": give this one another name"}
	}
	switch {
	case errors.Is(err, batchdesk.ErrInput):
		return &refusal{"batch.input", "batch.input names no file or object that the principal may have read"}
	case errors.Is(err, task.ErrDeleted):
		return &refusal{"batch.name", "batch.name: a batch of this name was deleted by its owner: give this one another name"}
	case errors.Is(err, task.ErrTooLarge):
		return &refusal{"batch", "batch is too large: shorten what it says"}
	case errors.Is(err, batchdesk.ErrActive):
		return auth.Limited("batches", time.Minute, fmt.Sprintf("%d batches of the principal have not ended, and no more may", batch.MaxActive))
	}
	return err
}
