// Package front is the front door: the A2A operations over the task records, and the HTTP
// handler that carries them.
//
// It accepts, reads and cancels. It never runs a task, and sees neither model nor bus.
// Package shared/desk turns messages into records, shared/task decides how a record may
// change, and wire checks requests.
package front

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"net/http"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"errand/cardserver/front/wire"
	"errand/shared/agent"
	"errand/shared/audit"
	"errand/shared/auth"
	"errand/shared/batchdesk"
	"errand/shared/desk"
	"errand/shared/dialect"
	"errand/shared/keys"
	"errand/shared/kv"
	"errand/shared/limits"
	"errand/shared/objects"
	"errand/shared/task"
	"errand/shared/uploads"
)

// Config is what the front door needs.
type Config struct {
	Desk    *desk.Desk
	Store   task.Store // the desk's, to read and watch
	KV      kv.Store   // has the results of calls, in the same database
	Agent   *agent.Agent
	Access  *auth.Access    // who may call
	Keys    *keys.Keyring   // seals the secrets of webhooks; its public keys are shown to everyone
	Card    http.Handler    // the agent card, for those who may read it
	Push    http.Handler    // the API about webhooks, below /push/, so that no tenant has that name, DELETE /tasks/{id}, its trace, and the URLs that wake calls
	Uploads *uploads.Store  // the files that messages name; nil: there are none
	Objects objects.Guarded // judges the URLs of messages; zero: nobody may name an object of a bucket
	Log     *slog.Logger

	// Batches knows of the lines of batches that have no record. nil: there are no batches.
	Batches *batchdesk.Desk

	// Doors are APIs beside A2A, each at a path and below it. No tenant has the name of such a
	// path: a request to one goes to its door.
	Doors map[string]http.Handler

	// Limits are of streams and waits; nil: none. The desk asks those of messages.
	Limits *limits.Limits

	// Extended makes the card of one owner. nil: there are no extended cards.
	Extended func(ctx context.Context, owner string) (*a2a.AgentCard, error)

	CheckURL func(raw string) error // whether a webhook may be sent there; the error is for the client
	IDTokens bool                   // webhooks can be sent with an ID token of a service account

	Model    string   // the name that people know the model by
	URL      string   // where clients reach the agent; empty: where they sent the request
	Origins  []string // of the web pages of other sites that may call: https://ui.example.com
	Loopback bool     // the listener is on loopback: requests to other hosts are refused

	Memory    *wire.Memory  // of all requests and answers in progress; nil: as [wire.NewMemory] makes it
	Wait      time.Duration // longest blocking send; 0: 55 s
	StreamAge time.Duration // longest stream; 0: 50 min
}

// operations are the eleven operations of A2A 1.0.
type operations struct {
	cfg   Config
	modes modes
}

var _ a2asrv.RequestHandler = (*operations)(nil)

// load reads a record that the caller may see. For any other caller it does not exist (E7). A
// line of a batch that has no record yet is a task all the same: then unfed is not nil, and the
// record is what the task is now, and is stored nowhere.
func (o *operations) load(ctx context.Context, tenant string, id a2a.TaskID) (r task.Record, unfed *batchdesk.Unfed, err error) {
	owner, err := caller(ctx, tenant)
	if err != nil {
		return task.Record{}, nil, err
	}
	if task.IsID(string(id)) {
		audit.Of(ctx).Task(string(id))
	}
	r, err = task.Find(ctx, o.cfg.Store, owner, string(id))
	if missing(err) {
		r, unfed, err = o.unfed(ctx, owner, string(id))
	}
	if err != nil {
		return task.Record{}, nil, failure(err)
	}
	return r, unfed, nil
}

// GetTask implements the operation.
func (o *operations) GetTask(ctx context.Context, req *a2a.GetTaskRequest) (*a2a.Task, error) {
	r, _, err := o.load(ctx, req.Tenant, req.ID)
	if err != nil {
		return nil, err
	}
	return recent(r.View(), req.HistoryLength), nil
}

// SendMessage implements the operation: it accepts the message and, unless asked to return
// at once, waits until the task has ended or waits for its client.
func (o *operations) SendMessage(ctx context.Context, req *a2a.SendMessageRequest) (a2a.SendMessageResult, error) {
	cfg := req.Config
	if cfg == nil {
		cfg = &a2a.SendMessageConfig{}
	}
	if !cfg.ReturnImmediately {
		leave, err := o.enter(ctx)
		if err != nil {
			return nil, err
		}
		defer leave()
	}

	r, err := o.accept(ctx, req)
	if err != nil {
		return nil, err
	}
	if !cfg.ReturnImmediately {
		if r, err = o.wait(ctx, r); err != nil {
			return nil, failure(err)
		}
	}
	return recent(r.View(), cfg.HistoryLength), nil
}

func (o *operations) accept(ctx context.Context, req *a2a.SendMessageRequest) (task.Record, error) {
	owner, err := caller(ctx, req.Tenant)
	if err != nil {
		return task.Record{}, err
	}
	if req.Config != nil && req.Config.PushConfig != nil {
		if err := o.pushes(); err != nil {
			return task.Record{}, err
		}
	}
	m := desk.Message{Owner: owner, Message: req.Message, Metadata: req.Metadata}
	if task.IsBatch(string(req.Message.TaskID)) {
		err = o.checkWish(req)
	} else {
		err = o.read(ctx, &m, req)
	}
	if err != nil {
		return task.Record{}, err
	}

	if cc, ok := a2asrv.CallContextFrom(ctx); ok {
		m.Extensions = cc.Extensions().ActivatedURIs()
	}
	if cfg := req.Config; cfg != nil && cfg.PushConfig != nil {
		if err := may(ctx, auth.Webhooks); err != nil { // as if it came in a request of its own
			return task.Record{}, err
		}
		h, err := o.hook(ctx, owner, cfg.PushConfig, "configuration.taskPushNotificationConfig.")
		if err != nil {
			return task.Record{}, err
		}
		m.Webhooks = []task.Webhook{h}
	}

	r, err := o.cfg.Desk.Accept(ctx, m)
	if err != nil {
		return task.Record{}, o.refused(ctx, m, err)
	}
	wire.Settled(ctx)
	audit.Of(ctx).Task(r.ID())
	audit.Of(ctx).Done()
	return withRerun(r), nil
}

// withRerun tells the sender of a message that was accepted before, and whose task has ended
// without success, that sending it once more changes nothing, and what does.
func withRerun(r task.Record) task.Record {
	if !r.MayRerun() {
		return r
	}
	t := *r.Task
	t.Metadata = map[string]any{"rerun": "The message was accepted before, and this is its task. POST /tasks/" + r.ID() + ":rerun runs it again."}
	maps.Copy(t.Metadata, r.Task.Metadata)
	r.Task = &t
	return r
}

// read checks that the agent can read a message, and that its files are the sender's.
func (o *operations) read(ctx context.Context, m *desk.Message, req *a2a.SendMessageRequest) error {
	if _, fault := task.Alone(req.Message); fault != "" {
		return wire.Invalid("message.metadata."+task.ConversationKey, fault)
	}
	list, err := o.filesIn(ctx, req.Message)
	if err != nil {
		return err
	}
	types, err := o.typesOf(ctx, m.Owner, list)
	if err != nil {
		return failure(err)
	}
	m.Prepare = func(ctx context.Context, id string) error {
		if err := o.passURLs(m.Owner, m.Message.Parts); err != nil {
			return err
		}
		return o.keepFiles(ctx, m.Owner, id, list)
	}
	return o.modes.check(req, types)
}

// wait follows the task until it has ended or waits for its client, but no longer than a
// blocking send may wait. Then the answer is the task as it is (decision 1). The error is
// ErrDeleted if the task is deleted meanwhile, or a refusal if the caller is let in no longer.
func (o *operations) wait(ctx context.Context, r task.Record) (task.Record, error) {
	ctx, release := o.cfg.Access.Hold(ctx)
	defer release()
	bounded, cancel := context.WithTimeout(ctx, o.cfg.Wait)
	defer cancel()
	answered := func(r task.Record) bool { return r.Terminal() || r.Interrupted() }
	if answered(r) { // a repeated message
		return r, nil
	}

	// Waiting holds no record: there may be thousands of waits, each for a large one.
	id := r.ID()
	for now := range task.Follow(bounded, o.cfg.Store, id, r.Version) {
		if answered(now) {
			return now, nil
		}
	}
	if err := auth.Gone(ctx); err != nil {
		return r, err
	}

	return o.cfg.Store.Load(ctx, id)
}

// deleted returns ErrDeleted if the task was deleted while it was watched.
func (o *operations) deleted(ctx context.Context, id string) error {
	if ctx.Err() != nil {
		return nil
	}
	if _, err := o.cfg.Store.Load(ctx, id); errors.Is(err, task.ErrDeleted) {
		return task.ErrDeleted
	}
	return nil
}

// SendStreamingMessage implements the operation. The stream ends when the task has ended or
// needs input. It stays open while the task waits for authorization (decision 7).
func (o *operations) SendStreamingMessage(ctx context.Context, req *a2a.SendMessageRequest) iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) {
		if err := o.streams(); err != nil {
			yield(nil, err)
			return
		}
		leave, err := o.enter(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		defer leave()

		r, err := o.accept(ctx, req)
		if err != nil {
			yield(nil, err)
			return
		}
		var history *int
		if req.Config != nil {
			history = req.Config.HistoryLength
		}
		req = nil // a stream is long, and the request may be large
		o.stream(ctx, r, history, func(s a2a.TaskState) bool {
			return s.Terminal() || s == a2a.TaskStateInputRequired
		}, yield)
	}
}

// SubscribeToTask implements the operation. The stream ends with the task.
func (o *operations) SubscribeToTask(ctx context.Context, req *a2a.SubscribeToTaskRequest) iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) {
		if err := o.streams(); err != nil {
			yield(nil, err)
			return
		}
		r, unfed, err := o.load(ctx, req.Tenant, req.ID)
		if err != nil {
			yield(nil, err)
			return
		}
		wire.Settled(ctx)
		if unfed != nil && !r.Terminal() {
			yield(nil, a2a.NewError(a2a.ErrUnsupportedOperation, "the line of the batch has not begun, and there is nothing to stream; subscribe to the batch, or ask for the task from time to time"))
			return
		}
		if r.Terminal() {
			yield(nil, a2a.NewError(a2a.ErrUnsupportedOperation, "the task has ended; read it with GetTask"))
			return
		}

		leave, err := o.enter(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		defer leave()
		o.stream(ctx, r, nil, a2a.TaskState.Terminal, yield)
	}
}

// streams refuses streams if the agent's definition switches them off.
func (o *operations) streams() error {
	if o.cfg.Agent.Capabilities.Streaming {
		return nil
	}
	return a2a.NewError(a2a.ErrUnsupportedOperation, "this agent streams nothing (capabilities.streaming of its card); send with SendMessage and read the task with GetTask")
}

// enter takes a place for a stream or a wait of the caller, before anything is stored for it.
func (o *operations) enter(ctx context.Context) (leave func(), err error) {
	if o.cfg.Limits == nil {
		return func() {}, nil
	}
	p, _ := auth.From(ctx)
	return o.cfg.Limits.Enter(p.Owner)
}

// stream yields the task as r has it and then every later event (R15). A reader that falls
// behind the record's log is cut off: it subscribes again and begins with a snapshot.
func (o *operations) stream(ctx context.Context, r task.Record, history *int, last func(a2a.TaskState) bool, yield func(a2a.Event, error) bool) {
	request := ctx
	held, release := o.cfg.Access.Hold(request)
	defer release()
	ctx, cancel := context.WithTimeout(held, o.cfg.StreamAge)
	defer cancel()
	id, version, seq, over := r.ID(), r.Version, r.Seq, last(r.State())
	if !yield(recent(r.View(), history), nil) || over {
		return
	}

	// From here on an idle stream holds no record: there may be thousands of streams, each of
	// a large one.
	for r := range task.Follow(ctx, o.cfg.Store, id, version) {
		events, ok := r.Events(seq)
		if !ok {
			yield(nil, wire.Unavailable(time.Second, errBehind))
			return
		}

		for _, ev := range events {
			if !yield(ev, nil) {
				return
			}
			if up, ok := ev.(*a2a.TaskStatusUpdateEvent); ok && last(up.Status.State) {
				return
			}
		}

		seq = r.Seq
	}

	switch err := o.deleted(ctx, id); {
	case err != nil:
		yield(nil, failure(err))
	case auth.Gone(held) != nil:
		yield(nil, auth.Gone(held))
	case request.Err() != nil: // a client that is still there must not take this for the end of the task
		yield(nil, wire.Unavailable(time.Second, errStopped))
	case ctx.Err() == nil:
		yield(nil, wire.Unavailable(time.Second, errBroken))
	}
}

// GetExtendedAgentCard implements the operation. There is an extended card where callers are
// known.
func (o *operations) GetExtendedAgentCard(ctx context.Context, req *a2a.GetExtendedAgentCardRequest) (*a2a.AgentCard, error) {
	owner, err := caller(ctx, req.Tenant)
	if err != nil {
		return nil, err
	}
	if o.cfg.Extended != nil && !o.cfg.Access.Anonymous() {
		c, err := o.cfg.Extended(ctx, owner)
		if err != nil {
			return nil, wire.Unavailable(time.Second, err)
		}
		return c, nil
	}
	is := a2a.ErrUnsupportedOperation
	if version(ctx) == dialect.Version03 { // which has an error for it
		is = a2a.ErrExtendedCardNotConfigured
	}
	return nil, a2a.NewError(is, "this agent has no extended card")
}

// fullFor is when a client may try again after the disk was full. Making room takes people.
const fullFor = time.Minute

// scanFor is when a client may ask again about a line of a manifest that is being read.
const scanFor = 5 * time.Second

// Reasons to end a stream before its task.
var (
	errBehind  = errors.New("the stream fell behind")
	errBroken  = errors.New("the task cannot be watched")
	errStopped = errors.New("the server is stopping, or the client has gone")
)

// failure is the one place that turns errors of the layers below into words for a client.
func failure(err error) error {
	if no, ok := errors.AsType[*auth.Refusal](err); ok {
		return no
	}
	if no, ok := errors.AsType[*noFile](err); ok {
		return wire.Invalid(field(no.part), no.why)
	}
	switch {
	case errors.Is(err, task.ErrDeleted):
		return a2a.NewError(a2a.ErrTaskNotFound, "the task was deleted by its owner")

	case errors.Is(err, task.ErrNotFound):
		return a2a.ErrTaskNotFound

	case errors.Is(err, task.ErrTerminal):
		return a2a.NewError(a2a.ErrUnsupportedOperation, "the task has ended; start a new task in its context by leaving taskId out")

	case errors.Is(err, task.ErrCount):
		return wire.Invalid("statusTimestampAfter", fmt.Sprintf("matches more tasks than can be counted in %v; give a later time, or leave it out and read pages until their tasks are older", task.CountFor))

	case errors.Is(err, task.ErrSlow):
		return wire.Later(time.Second, err, fmt.Sprintf("the page takes longer than %v to read; ask for fewer tasks (pageSize) or one context (contextId)", task.ListFor))

	case errors.Is(err, task.ErrMismatch):
		return wire.Invalid("message.messageId", "was already used for another message; give every message an id of its own")

	case errors.Is(err, desk.ErrContext):
		return wire.Invalid("message.contextId", "is not the context of the task; leave it out or send the task's own")

	case errors.Is(err, desk.ErrBatch):
		return wire.Invalid("message.contextId", "is a batch, whose tasks are made by its lines; leave it out, or add a line to a manifest")

	case errors.Is(err, batchdesk.ErrScanning):
		return wire.Later(scanFor, err, "the manifest of the batch is still being read; ask again")

	case errors.Is(err, batchdesk.ErrClosed):
		return a2a.NewError(a2a.ErrUnsupportedOperation, "the batch ended before this line began")

	case errors.Is(err, task.ErrInbox):
		return a2a.NewError(a2a.ErrUnsupportedOperation, "too many messages wait for this task; wait for it to answer")

	case errors.Is(err, task.ErrWebhooks):
		return wire.Invalid("taskPushNotificationConfig", "does not fit beside the others of this task; delete one of them first")

	case errors.Is(err, task.ErrWebhookURL):
		return wire.Invalid("taskPushNotificationConfig", "has the URL of another one of this task; use the id of that one, or delete it first")

	case errors.Is(err, task.ErrTooLarge):
		return wire.Invalid("message", fmt.Sprintf("is too large for this task (%d KiB with its history, files in base64); send the URL of a large file instead of its bytes, send less, or start a new task in this context", task.LimitAccept>>10))

	case errors.Is(err, task.ErrFull):
		return wire.Unavailable(fullFor, err)

	case errors.Is(err, context.Canceled):
		return err
	}
	return wire.Unavailable(time.Second, err)
}

// recent is t with at most n messages of history, the newest ones; nil means all.
func recent(t *a2a.Task, n *int) *a2a.Task {
	if n == nil || len(t.History) <= *n {
		return t
	}
	c := *t
	c.History = t.History[len(t.History)-*n:]
	return &c
}
