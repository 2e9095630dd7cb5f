// Package batchdesk does for callers what they ask about batches: it submits, finds, lists,
// pauses, resumes and repeats them, and reads their results. All doors to batches share it: our
// own HTTP+JSON, OpenAI's, and the topic of submissions.
//
// It is not an HTTP surface and runs nothing. A caller is a name here: the doors know who it
// is and which rights it has. Every wish becomes a change of a record by the desk. Beside the
// records it keeps two kinds of entries in kv: the list of an owner's batches, and the few of
// them that have not ended.
package batchdesk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"errand/shared/batch"
	"errand/shared/desk"
	"errand/shared/files"
	"errand/shared/kv"
	"errand/shared/objects"
	"errand/shared/task"
	"errand/shared/uploads"
)

// Config is what a Desk needs. All fields but Objects and Currency are required.
type Config struct {
	Desk    *desk.Desk
	Store   task.Store // the desk's, to read
	KV      kv.Store   // of the same database
	Files   *files.Store
	Uploads *uploads.Store

	// Object pins an object of a bucket, gs://BUCKET/NAME, as it is now. It returns ErrInput,
	// without the reason, if there is none or the owner may not read it.
	Object func(ctx context.Context, owner, name string) (batch.Input, error)

	// Objects judges the URLs of lines. Zero: no line names an object of a bucket.
	Objects objects.Guarded

	Manifests Manifests  // to read lines that have not been fed; a desk that only submits needs none
	Form      batch.Form // what lines may ask of the agent

	Currency string // of the operator's prices; empty: there are none
	Log      *slog.Logger
}

// A Desk is safe for concurrent use.
type Desk struct{ cfg Config }

// New makes a Desk.
func New(c Config) *Desk { return &Desk{c} }

// Errors of submissions. Nothing was made.
var (
	// ErrInput says that a caller may read no manifest of the name that it gives. It does not
	// tell whether there is one.
	ErrInput = errors.New("batchdesk: there is no such manifest, or the caller may not read it")

	// ErrTaken is the task.ErrDeleted of a submission: a batch of its name was deleted by its
	// owner. The name is free again when that batch expires.
	ErrTaken = fmt.Errorf("batchdesk: the name is taken: %w", task.ErrDeleted)

	// ErrActive says that as many batches of the owner have not ended as may be.
	ErrActive = errors.New("batchdesk: too many batches of the owner have not ended")

	// ErrLate says that a submission took too long. It may be made again.
	ErrLate = errors.New("batchdesk: the submission took too long")
)

// A FieldError is a fault in one field of a submission.
type FieldError struct{ Field, Fault string }

// Error implements error.
func (e *FieldError) Error() string { return e.Field + " " + e.Fault }

// A Submission is what a caller asks for. Empty fields have defaults, but for Input.
type Submission struct {
	Name     string        // default: derived from the input
	Input    string        // the id of a file of the owner, or gs://BUCKET/NAME
	Deadline time.Time     // default: after batch.Deadline
	Budget   *batch.Budget // default: none
	OnBad    string        // default: batch.Refuse

	Endpoint string // of OpenAI's interface
	Metadata map[string]string
}

// Submit makes the batch, or finds the one of the same name and input. made reports which of
// the two. After nil it is durable.
//
// Errors: *FieldError, *desk.Mismatch, ErrInput, ErrTaken, ErrActive, ErrLate, and those
// of the desk and the stores. Submitting again is always safe.
func (c *Desk) Submit(ctx context.Context, owner string, sub Submission) (b Batch, made bool, err error) {
	s := batch.Spec{Name: sub.Name, Deadline: sub.Deadline, Budget: sub.Budget, OnBad: sub.OnBad, Endpoint: sub.Endpoint, Metadata: sub.Metadata}
	if err := c.Check(sub); err != nil {
		return Batch{}, false, err
	}
	if s.Input, err = c.pin(ctx, owner, sub.Input); err != nil {
		return Batch{}, false, err
	}
	if s.Name == "" {
		s.Name = s.Input.DefaultName()
	}
	return c.submit(ctx, owner, s)
}

// Check finds the faults of a submission that show without its input. The error is a
// *FieldError. Submit checks it too.
func (c *Desk) Check(sub Submission) error {
	now := c.cfg.Desk.Now()
	switch err := batch.CheckName(sub.Name); {
	case sub.Name != "" && err != nil:
		return &FieldError{"name", err.Error()}
	case !sub.Deadline.IsZero() && sub.Deadline.Sub(now) < batch.MinDeadline:
		return &FieldError{"deadline", "is over, or nearly: leave it out for 24 hours, or name a later time"}
	case sub.Deadline.Sub(now) > batch.MaxDeadline:
		return &FieldError{"deadline", fmt.Sprintf("is more than %d days away: name an earlier time", batch.MaxDeadline/(24*time.Hour))}
	case sub.OnBad != "" && sub.OnBad != batch.Refuse && sub.OnBad != batch.Skip:
		return &FieldError{"onBadLine", "must be " + batch.Refuse + " or " + batch.Skip}
	}
	return c.CheckBudget(sub.Budget)
}

// CheckBudget finds the faults of a budget. The error is a *FieldError.
func (c *Desk) CheckBudget(b *batch.Budget) error {
	switch err := b.Check(); {
	case err != nil:
		return &FieldError{"budget", err.Error()}
	case b != nil && b.Price > 0 && c.cfg.Currency == "":
		return &FieldError{"budget", "cannot have a price, because the operator of this agent has set no prices: bound it by tokens"}
	case b != nil && b.Price > 0 && b.Currency != c.cfg.Currency:
		return &FieldError{"budget", "must have the currency of the operator's prices, " + c.cfg.Currency}
	}
	return nil
}

// pin finds the manifest that a caller names, as it is now.
func (c *Desk) pin(ctx context.Context, owner, name string) (in batch.Input, err error) {
	switch {
	case uploads.IsID(name):
		var f uploads.File
		if f, err = c.cfg.Uploads.Named(ctx, owner, name); errors.Is(err, uploads.ErrNotFound) {
			err = ErrInput
		}
		in = batch.Input{File: f.ID, SHA256: f.SHA256, Size: f.Size}
	case strings.HasPrefix(name, "gs://"):
		in, err = c.cfg.Object(ctx, owner, name)
	default:
		err = &FieldError{"input", "must be the id of a file of yours, or gs://BUCKET/NAME"}
	}

	switch {
	case err != nil:
		return in, err
	case in.Size == 0:
		return in, &FieldError{"input", "is empty: a manifest has a line at least"}
	case in.Size > batch.MaxManifest:
		return in, &FieldError{"input", fmt.Sprintf("has %d bytes, and a manifest has %d at most: split it", in.Size, int64(batch.MaxManifest))}
	}
	return in, nil
}

// submit makes the batch of a spec whose input is pinned, or finds it.
func (c *Desk) submit(ctx context.Context, owner string, s batch.Spec) (b Batch, made bool, err error) {
	now := c.cfg.Desk.Now().UTC()
	if s.At = now.Truncate(time.Millisecond); s.Deadline.IsZero() {
		s.Deadline = s.At.Add(batch.Deadline)
	}

	r, err := c.cfg.Desk.FindBatch(ctx, owner, s)
	if errors.Is(err, task.ErrNotFound) && !errors.Is(err, task.ErrDeleted) {
		r, made, err = c.create(ctx, owner, s, now)
	}
	if errors.Is(err, task.ErrDeleted) {
		err = ErrTaken
	}
	if err != nil {
		return Batch{}, false, err
	}
	b, err = c.read(ctx, r)
	return b, made, err
}

// create makes the batch, unless another submission does so at the same time. Everything that
// it writes before the record goes by itself if there is no record.
func (c *Desk) create(ctx context.Context, owner string, s batch.Spec, began time.Time) (r task.Record, made bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, batch.MakeWithin)
	defer cancel()
	id, ends := s.Entry(owner).ID, s.Deadline.Add(c.cfg.Desk.Moment().Rules.Retention)
	if err := c.enter(ctx, owner, id); err != nil {
		return r, false, err
	}
	if s.Input.File != "" {
		if _, err := c.cfg.Uploads.Keep(ctx, owner, s.Input.File, id, ends); err != nil {
			if errors.Is(err, uploads.ErrNotFound) { // deleted meanwhile
				err = ErrInput
			}
			return r, false, err
		}
	}
	if err := c.list(ctx, owner, s, ends); err != nil {
		return r, false, err
	}

	if c.cfg.Desk.Now().Sub(began) >= batch.MakeWithin {
		return r, false, ErrLate
	}
	r, made, err = c.cfg.Desk.Batch(ctx, owner, s)
	if err == nil && !made {
		c.unlist(ctx, owner, s, r)
	}
	return r, made, err
}
