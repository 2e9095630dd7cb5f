package world

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/task"
)

// The functions of this file may be called in any goroutine. A failure therefore does not
// end the test.

// Accept stores a new task. Fields that a leaves empty get a value, except for the owner.
func Accept(t testing.TB, store task.Store, m task.Moment, a task.Acceptance) task.Record {
	t.Helper()
	if a.Message == nil {
		a.Message = a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart("go"))
	}
	if a.Context == "" {
		a.Context = "c"
	}
	if a.Request.ID == "" {
		a.Request = task.Request{ID: a.Message.ID, Fingerprint: "p"}
	}
	a.Lane = task.Turns

	r, err := task.Accept(m, a)
	if err == nil {
		r, err = store.Create(context.Background(), r)
	}
	if err != nil {
		t.Error(err)
	}
	return r
}

// Update changes a record.
func Update(t testing.TB, store task.Store, id string, decide task.Decision) task.Record {
	t.Helper()
	r, err := task.Update(context.Background(), store, id, decide)
	if err != nil {
		t.Error(err)
	}
	return r
}

// Claim claims the turn of a task.
func Claim(t testing.TB, store task.Store, id string, m task.Moment, lease time.Duration) task.Record {
	t.Helper()
	return Update(t, store, id, func(r task.Record) (task.Record, bool, error) {
		nonce := fmt.Sprint(r.Epoch, r.Seq)
		next, _, changed, err := r.Claim(m, task.Claim{Lease: task.Lease{Until: m.Now.Add(lease), Nonce: nonce}})
		return next, changed, err
	})
}

// End ends the claimed turn of r.
func End(t testing.TB, store task.Store, r task.Record, m task.Moment, events []a2a.Event, out task.Outcome) task.Record {
	t.Helper()
	fence := task.Fence{Epoch: r.Epoch, Seq: r.Seq}
	return Update(t, store, r.ID(), func(r task.Record) (task.Record, bool, error) { return r.Finish(m, fence, events, out) })
}

// Finish runs a whole turn of a task.
func Finish(t testing.TB, store task.Store, id string, m task.Moment, events []a2a.Event, out task.Outcome) task.Record {
	t.Helper()
	return End(t, store, Claim(t, store, id, m, time.Minute), m, events, out)
}

// Artifact is an event that adds an artifact of one text.
func Artifact(id, text string) a2a.Event {
	return &a2a.TaskArtifactUpdateEvent{Artifact: &a2a.Artifact{ID: a2a.ArtifactID(id), Parts: a2a.ContentParts{a2a.NewTextPart(text)}}}
}
