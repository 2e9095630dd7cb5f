// Package notify delivers webhooks: it sends each webhook of a task the notes
// that lie behind its cursor, in order, until the receiver has said 2xx (R9).
//
// It keeps no state of its own. Bus messages and jobs are hints; what is owed,
// and to whom, is in the record, and whatever is dropped here comes back by Due.
// It does not decide who may register a webhook, nor which addresses may be
// reached: that is the business of the front door and of the client it is given.
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
	"errand/shared/queue"
	"errand/shared/serve"
	"errand/shared/task"
	"errand/shared/webhook"
)

// A Client sends the requests. It is the guarded way out to URLs that others
// chose: it follows no redirects.
type Client interface {
	Do(*http.Request) (*http.Response, error)
}

// Config says what a Notifier needs. Desk, Store, Client and Keys have no default.
type Config struct {
	Desk     *desk.Desk
	Store    task.Store // the desk's: a pass makes its own commits
	Client   Client
	Keys     *keys.Keyring    // signs, and opens what the front door has sealed
	Issuer   string           // the agent's address, for its tokens
	Log      *slog.Logger     // default: nowhere
	Schedule webhook.Schedule // default: webhook.Standard

	// IDToken makes ID tokens of this program's service account. nil: it has none.
	IDToken func(ctx context.Context, audience string) (string, error)
}

// Limits of a pass. With the longest attempt it ends well within the deadline of
// its job.
const (
	passFor     = 40 * time.Second // no attempt begins later
	commitEvery = time.Second      // outcomes wait no longer for those of other hooks
	storeFor    = 10 * time.Second // the last word of a pass that was told to stop
	maxRequest  = 1 << 20          // of the bus
)

// A Notifier is the webhook service. It is safe for concurrent use.
type Notifier struct {
	Config
	hosts   *hosts
	flights flights
}

// New returns a Notifier.
func New(c Config) *Notifier {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if len(c.Schedule) == 0 {
		c.Schedule = webhook.Standard()
	}
	return &Notifier{Config: c, hosts: newHosts(c.Desk.Moment().Rules.Patience)}
}

// ServeEvent handles a push of the bus, at bus.PathEvents: it acknowledges after
// the job was added. What will never be an event is acknowledged too, or it would
// come back for days; only an outage of store or queue asks the bus to repeat it.
func (n *Notifier) ServeEvent(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxRequest))
	var e bus.Event
	if err == nil {
		e, err = bus.Parse(body)
	}
	if err != nil {
		n.Log.Warn("dropping a bus message", "err", err)
		w.WriteHeader(http.StatusNoContent)
		return
	}
	err = n.hint(serve.WithTrace(req.Context(), e.Trace), e)
	switch {
	case errors.Is(err, task.ErrNotFound):
		n.Log.Warn("dropping an event of an unknown task", "task", e.Task)
	case errors.Is(err, task.ErrUnreadable):
		n.Log.Error("dropping an event of a record that cannot be read", "task", e.Task, "err", err)
	case err != nil:
		n.Log.Error("handling an event", "task", e.Task, "err", err)
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// hint adds a delivery job if a hook is behind. An event that is not the newest
// of its record leaves that to the newer one.
func (n *Notifier) hint(ctx context.Context, e bus.Event) error {
	r, err := n.Store.Load(ctx, e.Task)
	if err != nil {
		return err
	}
	if e.Note < len(r.Notes) {
		return nil
	}
	return n.Desk.Enqueue(ctx, r, task.Deliveries)
}

// ServeDelivery handles a job, at queue.PathDeliver: it runs one pass. It always
// acknowledges: an error would slow the whole queue down, and what is still owed
// comes back by a job of its own or by Due.
func (n *Notifier) ServeDelivery(w http.ResponseWriter, req *http.Request) {
	defer w.WriteHeader(http.StatusNoContent)
	job, err := queue.Read(w, req)
	if err != nil || job.Task == "" {
		n.Log.Warn("dropping a delivery job", "err", err)
		return
	}
	r, err := n.Store.Load(req.Context(), job.Task)
	switch {
	case errors.Is(err, task.ErrNotFound):
		n.Log.Warn("dropping a delivery job of an unknown task", "task", job.Task)
	case err != nil:
		n.Log.Error("delivering", "task", job.Task, "err", err)
	case r.Schema > task.Schema: // its cursors cannot be moved
		n.Log.Error("dropping a delivery job", "task", job.Task, "err", task.ErrNewer)
	default:
		p := pass{Notifier: n, until: n.Desk.Now().Add(passFor), held: map[int64]time.Time{}}
		p.run(req.Context(), r)
	}
}
