package desk_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"

	"errand/shared/desk"
	"errand/shared/lab/faulty"
	"errand/shared/lab/world"
	"errand/shared/task"
)

// A bench is a desk on a real store and a real queue.
type bench struct {
	*desk.Desk
	w   *world.World
	t   *testing.T
	log bytes.Buffer
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, w: world.New(t, world.Config{Handler: http.NotFoundHandler()})}
	b.configure(func(*desk.Config) {})
	return b
}

// configure replaces the bench's desk by one with another configuration.
func (b *bench) configure(edit func(*desk.Config)) {
	c := desk.Config{Store: b.w.Store, Queue: b.w.Jobs, Rules: b.w.Rules, Now: b.w.Now, Log: slog.New(slog.NewTextHandler(&b.log, nil))}
	edit(&c)
	b.Desk = desk.New(c)
}

// jobs returns the jobs added since the last call: path and task, and "later" if they have
// a time.
func (b *bench) jobs() (all []string) {
	for _, job := range b.w.Jobs.Take() {
		text := job.Path + " " + job.Task
		if !job.At.IsZero() {
			text += " later"
		}
		all = append(all, text)
	}
	return all
}

// message makes a message of one text.
func message(id, text string) *a2a.Message {
	return &a2a.Message{ID: id, Role: a2a.MessageRoleUser, Parts: a2a.ContentParts{a2a.NewTextPart(text)}}
}

// to makes a message to a task.
func to(r task.Record, id string) *a2a.Message {
	m := message(id, "more")
	m.TaskID = r.Task.ID
	return m
}

func (b *bench) accept(m *a2a.Message, hooks ...task.Webhook) task.Record {
	b.t.Helper()
	r, err := b.Accept(b.t.Context(), desk.Message{Owner: "me", Message: m, Webhooks: hooks})
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// refuse sends a message that the desk must refuse with an error, and checks that nothing
// has changed.
func (b *bench) refuse(want error, m *a2a.Message, hooks ...task.Webhook) {
	b.t.Helper()
	before := b.versions()
	if _, err := b.Accept(b.t.Context(), desk.Message{Owner: "me", Message: m, Webhooks: hooks}); !errors.Is(err, want) {
		b.t.Errorf("message %s: %v, want %v", m.ID, err, want)
	}
	if diff := cmp.Diff(before, b.versions()); diff != "" {
		b.t.Errorf("message %s was refused, but changed the versions in the store (-want +got):\n%s", m.ID, diff)
	}
	if jobs := b.jobs(); len(jobs) > 0 {
		b.t.Errorf("message %s was refused, but added the jobs %v", m.ID, jobs)
	}
}

func (b *bench) versions() map[string]int64 {
	b.t.Helper()
	page, err := b.w.Store.List(b.t.Context(), task.Query{Owner: "me", Limit: 100})
	if err != nil {
		b.t.Fatal(err)
	}
	all := map[string]int64{}
	for _, r := range page.Records {
		all[r.ID()] = r.Version
	}
	return all
}

// wantJobs checks which jobs were added since the last check.
func (b *bench) wantJobs(want ...string) {
	b.t.Helper()
	if diff := cmp.Diff(want, b.jobs()); diff != "" {
		b.t.Errorf("jobs added (-want +got):\n%s", diff)
	}
}

// run claims the turn of a task and ends it in a state. Without a state the turn stays
// claimed.
func (b *bench) run(id string, state a2a.TaskState) task.Record {
	b.t.Helper()
	r := world.Claim(b.t, b.w.Store, id, b.Moment(), time.Hour)
	if state == "" {
		return r
	}
	return world.End(b.t, b.w.Store, r, b.Moment(), nil, task.Outcome{State: state})
}

// A repeated message finds its task, and adds a job until a worker has claimed the turn
// (R1).
func TestSameMessageMakesOneTask(t *testing.T) {
	b := newBench(t)
	r := b.accept(message("m", "hello"))
	b.wantJobs("/turns " + r.ID())
	if id, _ := task.Derive("me", "m"); r.ID() != id || len(id) != 34 {
		t.Errorf("the task's id is %q, want %q", r.ID(), id)
	}
	again := b.accept(message("m", "hello"))
	b.wantJobs("/turns " + r.ID())
	if again.Version != r.Version || len(b.versions()) != 1 {
		t.Errorf("the same message changed the record, or made another task")
	}
	b.run(r.ID(), "")
	b.accept(message("m", "hello"))
	b.wantJobs()
	b.refuse(task.ErrMismatch, message("m", "other"))
	if other, err := b.Accept(t.Context(), desk.Message{Owner: "you", Message: message("m", "hello")}); err != nil || other.ID() == r.ID() {
		t.Errorf("another owner's message with the same id: task %s, %v", other.ID(), err)
	}
}

// Twenty requests at once with the same message make one task, and all of them get its id
// (R1).
func TestSameMessageAtOnce(t *testing.T) {
	b := newBench(t)
	var all sync.WaitGroup
	ids := make(chan string, 20)
	for range 20 {
		all.Go(func() {
			r, err := b.Accept(t.Context(), desk.Message{Owner: "me", Message: message("m", "hello"), Webhooks: []task.Webhook{{ID: "h", URL: "https://h.example.com"}}})
			if err != nil {
				t.Error(err)
				return
			}
			ids <- r.ID()
		})
	}
	all.Wait()
	close(ids)
	for id := range ids {
		if v := b.versions(); len(v) != 1 || v[id] == 0 {
			t.Errorf("the answer names task %s, but the store has %v", id, v)
		}
	}
}

// A record whose write was not answered is found again, and its job is added (R0, R1).
func TestLostAnswer(t *testing.T) {
	b := newBench(t)
	b.configure(func(c *desk.Config) { c.Store = faulty.Losing(b.w.Store, faulty.Create, 1) })
	hook := task.Webhook{ID: "h", URL: "https://h.example.com"}
	r := b.accept(message("m", "hello"), hook)
	b.wantJobs("/turns " + r.ID())
	if v := b.versions(); len(v) != 1 || v[r.ID()] != r.Version || len(r.Webhooks) != 1 {
		t.Errorf("the store has %v, accepted was %+v", v, r)
	}
}

// Where clients reuse ids, each request makes a message of its own. A record whose write
// was not answered is still found again. Shows M25, decision 3.
func TestReusedMessageIDs(t *testing.T) {
	b := newBench(t)
	b.configure(func(c *desk.Config) { c.Reused = true })
	one, two := b.accept(message("m", "hello")), b.accept(message("m", "hello"))
	if one.ID() == two.ID() {
		t.Error("two requests made one task")
	}
	b.wantJobs("/turns "+one.ID(), "/turns "+two.ID())
	for turn := 2; turn <= 3; turn++ {
		b.run(one.ID(), a2a.TaskStateInputRequired)
		more := message("m", "hello")
		more.TaskID = one.Task.ID
		if r := b.accept(more); r.Turn != turn || r.State() != a2a.TaskStateSubmitted {
			t.Errorf("after answer %d the task is %s in turn %d", turn-1, r.State(), r.Turn)
		}
	}
	b.jobs()
	b.configure(func(c *desk.Config) { c.Store, c.Reused = faulty.Losing(b.w.Store, faulty.Create, 1), true })
	r := b.accept(message("m", "hello"))
	b.wantJobs("/turns " + r.ID())
	if v := b.versions(); len(v) != 3 || v[r.ID()] != r.Version {
		t.Errorf("the store has %v", v)
	}
}

var errBroken = errors.New("the disk is full")

// A message that was not stored is not accepted, and its sender does not get "not found" as
// the answer.
func TestStoreOutageFailsTheAccept(t *testing.T) {
	b := newBench(t)
	b.configure(func(c *desk.Config) { c.Store = faulty.Refusing(b.w.Store, faulty.Create, errBroken) })
	b.refuse(errBroken, message("m", "hello"))
	_, err := b.Accept(t.Context(), desk.Message{Owner: "me", Message: message("m", "hello")})
	if errors.Is(err, task.ErrNotFound) {
		t.Errorf("the error is %v", err)
	}
}

// Without room no further message is accepted. A message that was accepted before finds its
// task, and the task can still be canceled and deleted.
func TestNoRoomForMessages(t *testing.T) {
	b := newBench(t)
	id := b.accept(message("m", "hello")).ID()
	full := true

	b.configure(func(c *desk.Config) {
		c.Room = func(context.Context, string) error {
			if full {
				return task.ErrFull
			}
			return nil
		}
	})

	b.jobs()
	b.refuse(task.ErrFull, message("n", "more"))
	if again := b.accept(message("m", "hello")).ID(); again != id {
		t.Errorf("the message that was accepted before made task %s, want %s", again, id)
	}

	b.jobs()
	b.refuse(task.ErrMismatch, message("m", "something else"))
	further := message("f", "and more")
	further.TaskID = a2a.TaskID(id)
	b.refuse(task.ErrFull, further)
	b.change(id, cancels)
	b.change(id, task.Record.Delete)

	full = false
	b.jobs()
	b.refuse(task.ErrDeleted, message("m", "hello"))
	b.refuse(task.ErrMismatch, message("m", "something else"))
	b.accept(message("n", "more"))
}

// An unavailable queue does not fail the accept (R1). The log has the failure, without the
// message's content. Shows decision 2.
func TestQueueOutageDoesNotFailTheAccept(t *testing.T) {
	b := newBench(t)
	if err := b.w.Queue.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := b.accept(message("m", "a secret"))
	if len(b.versions()) != 1 || r.Due.At.IsZero() {
		t.Errorf("the record is not stored, or has no pending work: %+v", r)
	}
	if log := b.log.String(); !strings.Contains(log, "task="+r.ID()) || strings.Contains(log, "secret") {
		t.Errorf("the log says %q", log)
	}
}

// A job of a durable change is added even if the client has gone meanwhile.
func TestJobIsAddedThoughTheClientHasGone(t *testing.T) {
	b := newBench(t)
	ctx, leave := context.WithCancel(t.Context())
	left := func(c faulty.Call, r task.Record, err error) (task.Record, error) {
		if c.Op == faulty.Create {
			leave()
		}
		return r, err
	}
	b.configure(func(c *desk.Config) { c.Store = faulty.Store{Store: b.w.Store, After: left} })
	r, err := b.Accept(ctx, desk.Message{Owner: "me", Message: message("m", "hello")})
	if err != nil || ctx.Err() == nil {
		t.Fatal(err, ctx.Err())
	}
	b.wantJobs("/turns " + r.ID())
	if b.log.Len() > 0 {
		t.Errorf("the log says %q", b.log.String())
	}
}

// change makes a change of the present record.
func (b *bench) change(id string, decide desk.Decision) task.Record {
	b.t.Helper()
	r, err := b.w.Store.Load(b.t.Context(), id)
	if err == nil {
		r, err = b.Change(b.t.Context(), r, decide)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

func cancels(r task.Record, now task.Moment) (task.Record, bool, error) {
	return r.Cancel(now, message("why", "because"), nil)
}

// setsWebhook sets a webhook.
func setsWebhook(id string) desk.Decision {
	return func(r task.Record, now task.Moment) (task.Record, bool, error) {
		return r.SetWebhook(now, task.Webhook{ID: id, URL: "https://h.example.com/" + id})
	}
}

// After a change the desk enqueues jobs for its new debts and not for older ones. After a
// repeated change it enqueues jobs for the debts that are due.
func TestChangeEnqueuesNewDebts(t *testing.T) {
	b := newBench(t)
	r := b.accept(message("m", "hello"), task.Webhook{ID: "1", URL: "https://h.example.com/1"})
	b.run(r.ID(), a2a.TaskStateInputRequired)
	turn, delivery := "/turns "+r.ID(), "/deliveries "+r.ID()
	b.jobs()

	b.change(r.ID(), setsWebhook("2"))
	b.wantJobs(delivery)
	b.change(r.ID(), setsWebhook("2"))
	b.wantJobs(delivery)
	b.change(r.ID(), func(r task.Record, now task.Moment) (task.Record, bool, error) { return r.DropWebhook(now, "2") })
	b.wantJobs()

	r = b.change(r.ID(), cancels)
	b.wantJobs(turn)

	if _, err := b.Change(t.Context(), r, func(r task.Record, now task.Moment) (task.Record, bool, error) {
		return r.Cancel(now, message("again", "because"), nil)
	}); !errors.Is(err, task.ErrTerminal) {
		t.Errorf("a second cancel: %v", err)
	}

	b.wantJobs()
	if _, err := b.ChangeByID(t.Context(), r.ID(), func(r task.Record, now task.Moment) (task.Record, bool, error) {
		return r.AskPing(now, "1")
	}); err != nil {
		t.Fatal(err)
	}

	b.wantJobs(delivery)
}

// The desk finds a change whose answer was lost, and adds its jobs and no others (R0).
func TestLostAnswerOfAChange(t *testing.T) {
	b := newBench(t)
	r := b.accept(message("m", "hello"), task.Webhook{ID: "1", URL: "https://h.example.com/1"})
	b.run(r.ID(), a2a.TaskStateInputRequired)
	b.jobs()
	for _, decide := range []desk.Decision{setsWebhook("2"), cancels} {
		decided := 0
		b.configure(func(c *desk.Config) { c.Store = faulty.Losing(b.w.Store, faulty.Commit, 1) })
		r = b.change(r.ID(), func(r task.Record, now task.Moment) (task.Record, bool, error) {
			decided++
			return decide(r, now)
		})
		if decided != 2 {
			t.Errorf("the change was decided %d times, want again after the lost answer", decided)
		}
	}
	b.wantJobs("/deliveries "+r.ID(), "/turns "+r.ID())
	if len(r.Webhooks) != 2 || r.State() != a2a.TaskStateCanceled {
		t.Errorf("the record is %+v", r)
	}
}

// Between the reading of a record and the commit of its change the work is done that it owed. A
// change that owes the same work again has a job for it.
func TestChangeAfterAnotherOne(t *testing.T) {
	b := newBench(t)
	r := b.accept(message("m", "hello"))
	b.run(r.ID(), a2a.TaskStateInputRequired)
	b.jobs()
	changed, err := b.Change(t.Context(), r, func(r task.Record, now task.Moment) (task.Record, bool, error) {
		return r.FollowUp(now, message("more", "go on"), task.Request{ID: "more", Fingerprint: "1"})
	})
	if err != nil || changed.Turn != 2 {
		t.Fatal(changed.Turn, err)
	}
	b.wantJobs("/turns " + r.ID())
}

// Enqueue adds a job at the time of each debt of the next minute, in the wanted lanes, and
// returns the error of an unavailable queue.
func TestEnqueue(t *testing.T) {
	b := newBench(t)
	hooks := []task.Webhook{{ID: "1", URL: "https://h.example.com/1"}}
	r := b.accept(message("m", "hello"), hooks...)
	r = b.change(r.ID(), cancels)
	b.jobs()

	put := func(r task.Record, lanes ...string) {
		t.Helper()
		if err := b.Enqueue(t.Context(), r, lanes...); err != nil {
			t.Error(err)
		}
	}

	put(r)
	b.wantJobs("/deliveries "+r.ID(), "/turns "+r.ID())
	put(r, task.Turns)
	b.wantJobs("/turns " + r.ID())

	for wait, want := range map[time.Duration][]string{59 * time.Second: {"/deliveries " + r.ID() + " later"}, 2 * time.Minute: nil} {
		now := b.Moment()
		later, _, err := r.Delivered(now, []task.Delivery{{Webhook: r.Webhooks[0], Fail: true, Wait: now.Now.Add(wait)}})
		if err != nil {
			t.Fatal(err)
		}

		put(later, task.Deliveries)
		b.wantJobs(want...)
	}

	if err := b.w.Queue.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.Enqueue(t.Context(), r); err == nil || !strings.Contains(err.Error(), task.Turns) || !strings.Contains(err.Error(), task.Deliveries) {
		t.Errorf("with the queue closed: %v", err)
	}
}

// The inline webhook of a repeated message is added to the task that it finds (R1).
func TestInlineWebhookOfARepeatedMessage(t *testing.T) {
	b := newBench(t)
	one, two := task.Webhook{ID: "1", URL: "https://h.example.com/1"}, task.Webhook{ID: "2", URL: "https://h.example.com/2"}
	r := b.accept(message("m", "hello"), one)
	b.run(r.ID(), a2a.TaskStateCompleted)
	b.jobs()
	r = b.accept(message("m", "hello"), two)
	b.wantJobs("/deliveries " + r.ID())
	if len(r.Webhooks) != 2 {
		t.Errorf("the webhooks are %+v", r.Webhooks)
	}
	if again := b.accept(message("m", "hello"), two); again.Version != r.Version {
		t.Errorf("the same webhook again changed the record")
	}
}

// The state of the task decides how a further message is taken (R13).
func TestFollowUps(t *testing.T) {
	b := newBench(t)
	r := b.accept(message("m", "hello"))
	b.run(r.ID(), a2a.TaskStateInputRequired)
	b.jobs()

	r = b.accept(to(r, "answer"))
	b.wantJobs("/turns " + r.ID())
	if r.State() != a2a.TaskStateSubmitted || r.Turn != 2 {
		t.Errorf("after an answer the task is %s in turn %d", r.State(), r.Turn)
	}

	for _, m := range r.Task.History {
		if m.Role == a2a.MessageRoleUser && (m.TaskID != r.Task.ID || m.ContextID != r.Task.ContextID) {
			t.Errorf("the history holds %+v", m)
		}
	}

	b.accept(to(r, "answer"))
	b.wantJobs("/turns " + r.ID())

	b.run(r.ID(), "")
	r = b.accept(to(r, "more"))
	b.wantJobs()
	if r.State() != a2a.TaskStateWorking || len(r.Inbox) != 1 {
		t.Errorf("a message to a task at work: %s, %d waiting", r.State(), len(r.Inbox))
	}

	wrong := to(r, "wrong")
	wrong.ContextID = "another"
	b.refuse(desk.ErrContext, wrong)
	b.refuse(task.ErrMismatch, func() *a2a.Message { m := to(r, "more"); m.ContextID = "another"; return m }())
	b.refuse(task.ErrNotFound, func() *a2a.Message { m := message("x", ""); m.TaskID = "none"; return m }())
	b.refuse(task.ErrTooLarge, func() *a2a.Message { m := message("x", strings.Repeat("x", 600<<10)); m.TaskID = r.Task.ID; return m }())
	var hooks []task.Webhook

	for i := range 11 {
		hooks = append(hooks, task.Webhook{ID: fmt.Sprint(i), URL: "https://h.example.com/" + fmt.Sprint(i)})
	}

	b.refuse(task.ErrWebhooks, to(r, "with hooks"), hooks...)

	theirs, err := b.Accept(t.Context(), desk.Message{Owner: "you", Message: message("m", "hello")})
	if err != nil {
		t.Fatal(err)
	}

	b.jobs()
	b.refuse(task.ErrNotFound, to(theirs, "not mine"))

	for i := range b.Moment().Rules.Inbox - 1 {
		b.accept(to(r, fmt.Sprint("more", i)))
	}

	b.refuse(task.ErrInbox, to(r, "one too many"))
	done := b.accept(message("done", "hello"))
	b.run(done.ID(), a2a.TaskStateCompleted)
	b.jobs()
	b.refuse(task.ErrTerminal, to(done, "late"))
}

// Each row is sent after the first message and is the same message or another one (R1).
// Shows decision 3.
func TestFingerprintOfAMessage(t *testing.T) {
	id, contextID := task.Derive("me", "m")
	base := func() *a2a.Message {
		return &a2a.Message{
			ID: "m", Role: a2a.MessageRoleUser,
			Parts:    a2a.ContentParts{a2a.NewTextPart("one"), {Content: a2a.Data{Value: nil}}},
			Metadata: map[string]any{"a": 1.0, "b": map[string]any{"c": "x", "d": []any{true}}},
		}
	}

	for _, row := range []struct {
		name string
		edit func(*a2a.Message)
		want error
	}{
		{"the same", func(*a2a.Message) {}, nil},
		{"with the context it was given", func(m *a2a.Message) { m.ContextID = contextID }, nil},
		{"with the ids it was given", func(m *a2a.Message) { m.ContextID, m.TaskID = contextID, a2a.TaskID(id) }, nil},
		{"with another context", func(m *a2a.Message) { m.ContextID = "another" }, task.ErrMismatch},
		{"with another task", func(m *a2a.Message) { m.TaskID = "another" }, task.ErrNotFound},
		{"with metadata in another order", func(m *a2a.Message) {
			m.Metadata = map[string]any{"b": map[string]any{"d": []any{true}, "c": "x"}, "a": 1.0}
		}, nil},
		{"with other metadata", func(m *a2a.Message) { m.Metadata["a"] = 2.0 }, task.ErrMismatch},
		{"without metadata", func(m *a2a.Message) { m.Metadata = nil }, task.ErrMismatch},
		{"with parts in another order", func(m *a2a.Message) { m.Parts[0], m.Parts[1] = m.Parts[1], m.Parts[0] }, task.ErrMismatch},
		{"without the part that is null", func(m *a2a.Message) { m.Parts = m.Parts[:1] }, task.ErrMismatch},
		{"with a text for the part that is null", func(m *a2a.Message) { m.Parts[1] = a2a.NewTextPart("null") }, task.ErrMismatch},
		{"with an empty text more", func(m *a2a.Message) { m.Parts = append(m.Parts, a2a.NewTextPart("")) }, task.ErrMismatch},
		{"with a reference", func(m *a2a.Message) { m.ReferenceTasks = []a2a.TaskID{"x"} }, task.ErrMismatch},
		{"with an extension", func(m *a2a.Message) { m.Extensions = []string{"urn:x:y"} }, task.ErrMismatch},
		{"with a media type", func(m *a2a.Message) { m.Parts[0].MediaType = "text/plain" }, task.ErrMismatch},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBench(t)
			r := b.accept(base())
			b.jobs()
			m := base()
			row.edit(m)

			if row.want != nil {
				b.refuse(row.want, m)
				return
			}

			if again := b.accept(m); again.ID() != r.ID() || again.Version != r.Version {
				t.Errorf("accepted as %+v", again)
			}
		})
	}
}
