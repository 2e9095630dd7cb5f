// Package submit makes tasks of the messages that pipelines publish: one line of a manifest is
// one task, and the name of a manifest is one batch. A subscription pushes the messages here, and
// they are the tasks of the principal to whom the access file gives that subscription.
//
// A message is acknowledged when its task is durable, or when it is published to the topic of
// refused messages, with the reason. Every other message comes again. So a message that comes
// twice must find its task: the id of a line is the id of its task's message.
//
// The package runs nothing, and keeps nothing. A manifest is submitted as by any other door.
package submit

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/time/rate"

	"errand/shared/audit"
	"errand/shared/auth"
	"errand/shared/batch"
	"errand/shared/batchdesk"
	"errand/shared/bus"
	"errand/shared/desk"
	"errand/shared/task"
)

// Access says whose the messages of a subscription are, and counts them: an auth.Access.
type Access interface {
	Submitter(subscription string) (auth.Principal, bool)
	Take(auth.Principal) error
}

// Batches submits batches: a batchdesk.Desk.
type Batches interface {
	Submit(ctx context.Context, owner string, s batchdesk.Submission) (b batchdesk.Batch, made bool, err error)
	KeepFiles(ctx context.Context, owner, id string, it batch.Item) error
}

// Config is the configuration of a Submit. All fields but Reused are required.
type Config struct {
	Desk    *desk.Desk
	Batches Batches
	Access  Access
	Form    batch.Form  // what lines may ask of the agent
	Refused bus.Letters // the topic of refused messages
	Log     *slog.Logger

	// Reused says that different lines have the same id. Then a line is known by the id that
	// Pub/Sub gave its message.
	Reused bool
}

// A Submit handles the pushes of subscriptions, at bus.PathSubmit. It is safe for concurrent
// use.
type Submit struct {
	cfg   Config
	audit *audit.Log
	lines *rate.Limiter // about subscriptions that nobody has named
	large chan struct{} // held while a large message is handled
}

// Limits of messages.
const (
	// maxPush is the largest body of a push: base64 of the largest message, 10 MB, and its
	// attributes. https://cloud.google.com/pubsub/quotas#resource_limits
	maxPush = 15 << 20

	// smallPush is the largest body of a message that can be a line. Of the larger ones, which
	// are only published again, one is in the memory at a time.
	smallPush = 1 << 20

	// largeWait is how long a large message waits for the one before.
	largeWait = 10 * time.Second
)

// New makes a Submit.
func New(c Config) *Submit {
	return &Submit{cfg: c, audit: audit.New(c.Log), lines: rate.NewLimiter(rate.Every(time.Second), 10), large: make(chan struct{}, 1)}
}

// ServeHTTP handles the push of one message. It acknowledges with 204.
func (s *Submit) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	ctx := req.Context()
	body, err := io.ReadAll(io.LimitReader(req.Body, smallPush+1))
	if len(body) > smallPush {
		wait, cancel := context.WithTimeout(ctx, largeWait)
		defer cancel()
		select {
		case s.large <- struct{}{}:
			defer func() { <-s.large }()
		case <-wait.Done():
			http.Error(w, "another large message is handled", http.StatusServiceUnavailable)
			return
		}

		var more []byte
		if err == nil {
			more, err = io.ReadAll(http.MaxBytesReader(w, req.Body, maxPush-smallPush))
		}
		body = append(body, more...)
	}

	var l bus.Letter
	if err == nil {
		l, err = bus.ParseLetter(body)
	}
	if err != nil {
		s.cfg.Log.ErrorContext(ctx, "a submitted message cannot be read, and comes again", "err", err)
		http.Error(w, "not the push of a message", http.StatusBadRequest)
		return
	}

	caller, ok := s.cfg.Access.Submitter(l.Subscription)
	if !ok {
		if s.lines.Allow() {
			s.cfg.Log.ErrorContext(ctx, "messages wait: name their subscription under submit in the access file, with the principal whose tasks they are",
				"subscription", l.Subscription, "alert", true)
		}
		http.Error(w, "the subscription belongs to nobody", http.StatusForbidden)
		return
	}

	s.answer(w, s.handle(s.audit.Begin(ctx), caller, l))
}

// handle makes the task of a message, or refuses it for good. The error is one that may go away.
func (s *Submit) handle(ctx context.Context, caller auth.Principal, l bus.Letter) error {
	line := audit.Of(ctx)
	line.Caller(caller)
	line.Operation("SendMessage", true)

	err := s.cfg.Access.Take(caller)
	if err == nil {
		err = s.submit(ctx, caller, l)
	}
	never, malformed := errors.AsType[*refusal](err)
	switch no, limited := errors.AsType[*auth.Refusal](err); {
	case err == nil:
		line.Done()
	case malformed:
		line.Failed(http.StatusBadRequest, "the message cannot become a task", err)
		return s.refuse(ctx, l, never)
	case limited:
		line.Failed(no.Status, no.Reason, err)
	default:
		line.Failed(http.StatusServiceUnavailable, "the store does not answer", err)
	}
	return err
}

// submit makes the task of a message. The error is a *refusal if there will never be one.
func (s *Submit) submit(ctx context.Context, caller auth.Principal, l bus.Letter) error {
	m, err := s.read(l)
	if err != nil {
		return err
	}

	if m.batch != nil {
		audit.Of(ctx).Operation("POST /batches", true)
		// Not Again: a message that comes twice brings no batch back that was canceled meanwhile.
		b, _, err := s.cfg.Batches.Submit(ctx, caller.Owner, *m.batch)
		if err != nil {
			return batchFault(err)
		}
		audit.Of(ctx).Task(b.ID())
		return nil
	}

	r, err := s.cfg.Desk.Accept(ctx, desk.Message{
		Owner: caller.Owner, Message: m.line.Message, Metadata: m.line.Metadata,
		Prepare: func(ctx context.Context, id string) error {
			return s.cfg.Batches.KeepFiles(ctx, caller.Owner, id, m.line)
		},
	})
	fault, ok := errors.AsType[*batchdesk.FieldError](err)
	switch {
	case ok:
		return &refusal{fault.Field, fault.Error()}
	case errors.Is(err, task.ErrDeleted): // it was made, and its owner has deleted it since
		return nil
	case errors.Is(err, task.ErrMismatch):
		return &refusal{"id", "id: another line of this id has become a task within the last weeks: give each line an id of its own"}
	case errors.Is(err, task.ErrTooLarge):
		return &refusal{"", "the line is too large for a task: shorten it"}
	case err != nil:
		return err
	}
	audit.Of(ctx).Task(r.ID())
	return nil
}

// answer acknowledges the message, or has it come again.
func (s *Submit) answer(w http.ResponseWriter, err error) {
	no, limited := errors.AsType[*auth.Refusal](err)
	switch {
	case err == nil:
		w.WriteHeader(http.StatusNoContent)
	case limited:
		w.Header().Set("Retry-After", strconv.Itoa(max(1, int(no.After.Seconds()))))
		http.Error(w, no.Message, no.Status)
	default:
		http.Error(w, "the message cannot be taken now", http.StatusServiceUnavailable)
	}
}
