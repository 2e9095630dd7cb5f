// Package notify delivers webhooks. It sends the notifications behind each webhook's cursor, in
// order, until the receiver answers each of them with 2xx (R9).
//
// It keeps no state. Bus messages and jobs are hints. The record holds the backlog of every
// webhook, and Due brings back a webhook whose hint was dropped.
//
// The front door decides who may register a webhook, the guarded client which addresses
// may be reached, and shared/webhook when and how an attempt is made.
package notify

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"errand/shared/bus"
	"errand/shared/desk"
	"errand/shared/keys"
	"errand/shared/memory"
	"errand/shared/queue"
	"errand/shared/serve"
	"errand/shared/task"
	"errand/shared/webhook"
)

// A Client sends requests to URLs that clients chose, and guards against them. It follows
// no redirects.
type Client interface {
	Do(*http.Request) (*http.Response, error)
}

// Config is the configuration of a Notifier. Desk, Store, Client and Keys have no default.
type Config struct {
	Desk     *desk.Desk
	Store    task.Store // the desk's: a pass makes its own commits
	Client   Client
	Keys     *keys.Keyring    // signs, and opens the secrets that the front door has sealed
	Log      *slog.Logger     // default: discards
	Schedule webhook.Schedule // default: webhook.Standard

	// Issuer is the agent's address, for the tokens of webhooks. It is called for each
	// attempt, because a local program knows its address only after it listens. Default:
	// none, and webhooks that need a token fail.
	Issuer func() string

	// IDToken makes ID tokens of this program's service account. Default: there is no
	// service account, and webhooks that need an ID token fail.
	IDToken func(ctx context.Context, audience string) (string, error)

	// IDTokens reports whether the owner's webhooks to the origin may carry an ID token. The
	// front door has asked the same at the registration. Default: none may.
	IDTokens func(owner, origin string) bool

	Memory *memory.Pool // of the passes over records that are not small; nil: an eighth of the process
}

// Limits of a pass. With the longest attempt a pass ends well within its job's deadline.
const (
	passFor     = 40 * time.Second // no attempt begins later
	commitEvery = time.Second      // the longest wait for the outcomes of other webhooks
	storeFor    = 10 * time.Second // for the last commit of a pass that was told to stop
	maxRequest  = 1 << 20          // bytes of a bus message

	memoryShare = 8               // of the process, for the passes over records that are not small
	smallRecord = 32 << 10        // bytes; the number of passes bounds the memory of smaller ones
	textCopies  = 4               // of a record's text in a pass: stored, decoded, and in the request twice
	roomAfter   = 5 * time.Second // until a pass that found no memory is tried again
)

// A Notifier is the webhook service. It is safe for concurrent use.
type Notifier struct {
	cfg     Config
	hosts   *hosts
	origins *origins
	flights flights
}

// New makes a Notifier.
func New(c Config) *Notifier {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if len(c.Schedule) == 0 {
		c.Schedule = webhook.Standard()
	}
	if c.Issuer == nil {
		c.Issuer = func() string { return "" }
	}
	if c.IDToken == nil {
		c.IDToken = func(context.Context, string) (string, error) { return "", errNoAccount }
	}
	if c.IDTokens == nil {
		c.IDTokens = func(string, string) bool { return false }
	}
	if c.Memory == nil {
		c.Memory = memory.Share(memoryShare)
	}
	return &Notifier{cfg: c, hosts: newHosts(c.Desk.Moment().Rules.Patience), origins: newOrigins()}
}

// errNotGiven refuses an ID token for an origin that was taken from its owner, or that was
// never given.
var errNotGiven = errors.New(webhook.GoogleIDToken + ": the access file does not give this origin to the owner: add it to the principal's idTokens")

var errNoAccount = errors.New(webhook.GoogleIDToken + " needs a service account, and there is none here")

func (n *Notifier) now() time.Time { return n.cfg.Desk.Now() }

// ServeEvent handles a push of the bus, at bus.PathEvents. It acknowledges an event after
// its job is enqueued. It also acknowledges a message that can never be handled, because
// the bus would repeat it for days. Only an outage of the store or the queue is an error.
func (n *Notifier) ServeEvent(w http.ResponseWriter, req *http.Request) {
	ctx, log := req.Context(), n.cfg.Log
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxRequest))
	var e bus.Event
	if err == nil {
		e, err = bus.Parse(body)
	}

	if err != nil {
		log.WarnContext(ctx, "dropping a bus message", "err", err)
		w.WriteHeader(http.StatusNoContent)
		return
	}

	ctx = serve.WithTrace(ctx, e.Trace)
	err = n.hint(ctx, e)

	switch {
	case errors.Is(err, task.ErrNotFound):
		log.WarnContext(ctx, "dropping an event of an unknown task", "task", e.Task)
	case errors.Is(err, task.ErrUnreadable):
		log.ErrorContext(ctx, "dropping an event of a record that cannot be read", "task", e.Task, "err", err)
	case err != nil:
		log.ErrorContext(ctx, "handling an event", "task", e.Task, "err", err)
		w.WriteHeader(desk.StatusOf(err))
		return
	}

	w.WriteHeader(http.StatusNoContent)
}

// hint enqueues a delivery job if a webhook is behind its notifications. An event that is not the
// newest of its record leaves this to the newest.
func (n *Notifier) hint(ctx context.Context, e bus.Event) error {
	r, err := task.Load(ctx, n.cfg.Store, e.Task)
	if err != nil {
		return err
	}
	if e.Notification < len(r.Notifications) {
		return nil
	}
	return n.cfg.Desk.Enqueue(ctx, r, task.Deliveries)
}

// ServeDelivery handles a delivery job, at queue.PathDeliver, by one pass. It always
// acknowledges, because an error would slow down the whole queue. A job of its own or Due
// brings back the remaining notifications.
func (n *Notifier) ServeDelivery(w http.ResponseWriter, req *http.Request) {
	defer w.WriteHeader(http.StatusNoContent)
	ctx, log := req.Context(), n.cfg.Log
	job, err := queue.Read(w, req)
	if err != nil || job.Task == "" {
		log.WarnContext(ctx, "dropping a delivery job", "err", err)
		return
	}

	r, err := n.cfg.Store.Load(ctx, job.Task)
	switch {
	case errors.Is(err, task.ErrNotFound):
		log.WarnContext(ctx, "dropping a delivery job of an unknown task", "task", job.Task)
	case err != nil:
		log.ErrorContext(ctx, "delivering", "task", job.Task, "err", err)
	case r.Schema > task.Schema: // its cursors cannot be moved
		log.ErrorContext(ctx, "dropping a delivery job", "task", job.Task, "err", task.ErrNewer)
	default:
		n.deliver(ctx, r)
	}
}

// deliver makes a pass over the record. While other passes hold the memory for it, a job
// brings the record back later. The pass does not wait here, because its slot is one of all
// owners.
func (n *Notifier) deliver(ctx context.Context, r task.Record) {
	p := pass{Notifier: n, until: n.now().Add(passFor), held: map[int64]time.Time{}}
	form, err := r.Encode()
	if err != nil {
		n.cfg.Log.ErrorContext(ctx, "delivering", "task", r.ID(), "err", err)
		return
	}

	charge := n.cfg.Memory.Charge(r.Owner)
	defer charge.Settle()
	if size := form.Size(); size > smallRecord && charge.Take(int64(size)*textCopies) != nil {
		p.until = time.Time{}
		for _, h := range r.Behind(n.now()) {
			p.held[h.Gen] = n.now().Add(roomAfter)
		}
	}

	p.run(ctx, r)
}
