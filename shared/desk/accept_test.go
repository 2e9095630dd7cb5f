package desk_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"errand/shared/desk"
	"errand/shared/lab/faulty"
	"errand/shared/task"
)

// counted makes the bench's desk note its calls of the store. The function returns those
// since the last call.
func (b *bench) counted() (calls func() []string) {
	var made []string
	b.configure(func(c *desk.Config) {
		c.Store = faulty.Store{Store: b.w.Store, Before: func(c faulty.Call) error {
			made = append(made, string(c.Op)+" "+c.ID)
			return nil
		}}
	})
	return func() []string {
		all := made
		made = nil
		return all
	}
}

// earlier stores a task as an earlier version accepted it, under the second part of its
// present id.
func (b *bench) earlier(messageID, text string) task.Record {
	b.t.Helper()
	id, contextID := task.Derive("me", messageID)
	id = id[8:]
	m := message(messageID, text)
	m.TaskID, m.ContextID = "", ""
	print, err := task.Fingerprint(m, "", "")
	if err != nil {
		b.t.Fatal(err)
	}
	r, err := task.Accept(b.Moment(), task.Acceptance{
		ID: id, Context: contextID, Owner: "me", Lane: task.Turns, Message: m, Request: task.Request{ID: messageID, Fingerprint: print},
	})
	if err == nil {
		r, err = b.w.Store.Create(b.t.Context(), r)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// A message that an earlier version has accepted finds its task when it is sent again, and
// makes no other.
func TestTasksOfAnEarlierVersion(t *testing.T) {
	b := newBench(t)
	old := b.earlier("m", "hello")
	if r := b.accept(message("m", "hello")); r.ID() != old.ID() || r.Version != old.Version {
		t.Errorf("sent again it is task %s, want %s", r.ID(), old.ID())
	}
	b.wantJobs("/turns " + old.ID())
	b.refuse(task.ErrMismatch, message("m", "other"))
	b.jobs()

	if r := b.accept(to(old, "more")); r.ID() != old.ID() || len(r.Inbox) != 1 {
		t.Errorf("a further message: %+v", r)
	}
	if n := len(b.versions()); n != 1 {
		t.Errorf("there are %d tasks", n)
	}

	if other, err := b.Accept(t.Context(), desk.Message{Owner: "you", Message: message("m", "hello")}); err != nil || other.ID() == old.ID() {
		t.Errorf("another owner's message with the same id: task %s, %v", other.ID(), err)
	}
}

// A new task takes one write, and a message that is sent again one read more. Only a message
// that an earlier version accepted takes two. A message to a foreign task takes none, whether
// the task exists or not.
func TestCallsOfAnAccept(t *testing.T) {
	b := newBench(t)
	b.earlier("old", "hello")
	calls := b.counted()
	id, _ := task.Derive("me", "m")
	old, _ := task.Derive("me", "old")
	theirs, err := b.Accept(t.Context(), desk.Message{Owner: "you", Message: message("m", "hello")})
	if err != nil {
		t.Fatal(err)
	}
	calls()
	b.jobs()

	for _, c := range []struct {
		name string
		do   func()
		want []string
	}{
		{"a new task", func() { b.accept(message("m", "hello")) }, []string{"Create " + id}},
		{"the same message", func() { b.accept(message("m", "hello")) }, []string{"Create " + id, "Load " + id}},
		{"a message that an earlier version accepted", func() { b.accept(message("old", "hello")) }, []string{"Create " + old, "Load " + old, "Load " + old[8:]}},
		{"to a foreign task", func() { b.refuse(task.ErrNotFound, to(theirs, "x")) }, nil},
		{"to a foreign task that does not exist", func() {
			none := message("none", "x")
			none.TaskID = "1aaaaaaa" + theirs.Task.ID[8:]
			b.refuse(task.ErrNotFound, none)
		}, nil},
	} {
		c.do()
		b.jobs()
		if diff := cmp.Diff(c.want, calls()); diff != "" {
			t.Errorf("%s: calls of the store (-want +got):\n%s", c.name, diff)
		}
	}
}
