package batchdesk_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/batch"
	"errand/shared/batchdesk"
	"errand/shared/desk"
	"errand/shared/objects"
	"errand/shared/task"
	"errand/worker/batches"
)

const lines = 2500

// fed is a batch of many lines that was scanned and fed up to a line. Line 7 and 1500 cannot
// run.
func (b *bench) fed(fed int) string {
	b.Helper()
	form := batch.Form{Input: []string{"text/plain"}}
	var manifest strings.Builder
	for n := 1; n <= lines; n++ {
		fmt.Fprintf(&manifest, `{"id":"id-%d","text":"text of line %d"}`+"\n", n, n)
	}
	found, err := batch.Scan(b.Context(), strings.NewReader(manifest.String()), form, batch.ScanOptions{})
	if err != nil {
		b.Fatal(err)
	}

	b.configure(func(c *batchdesk.Config) { c.Form, c.Manifests = form, batches.Sources{Uploads: b.uploads} })
	got, _ := b.submit(alice, batchdesk.Submission{Name: "n", Input: b.upload(alice, manifest.String())})
	id := got.ID()
	index, err := json.Marshal(found.Index)
	if err != nil {
		b.Fatal(err)
	}
	b.put(batch.IndexFile(id), string(index))
	b.put(batch.BadFile(id), `{"line":7,"code":"x","reason":"x"}`+"\n"+`{"line":1500,"code":"x","reason":"x"}`+"\n")
	b.w.SetBatch(id, batch.State{Dialect: batch.Errand, Lines: lines, Bad: 2, Fed: fed})
	b.w.Jobs.Take()
	return id
}

// A line that is not fed is a task of the batch's owner, if it can become an item.
func TestUnfed(t *testing.T) {
	b := newBench(t)
	id := b.fed(10)
	for _, row := range []struct {
		owner string
		id    string
		want  error
	}{
		{alice, task.ItemID(id, 11), nil},
		{alice, task.ItemID(id, lines), nil},
		{alice, task.ItemID(id, lines+1), task.ErrNotFound},
		{alice, task.ItemID(id, 10), task.ErrNotFound}, // it has a record, or can have none
		{alice, task.ItemID(id, 7), task.ErrNotFound},
		{alice, task.ItemID(id, 1500), task.ErrNotFound},
		{alice, task.ItemID(id, 1499), nil},
		{alice, task.ItemID(id, 1501), nil},
		{bob, task.ItemID(id, 11), task.ErrNotFound},
		{alice, task.ItemID(task.BatchID(alice, "none"), 11), task.ErrNotFound},
		{alice, strings.Replace(task.ItemID(id, 11), "-11", "-12", 1), task.ErrNotFound}, // the hash is of another line
		{alice, id, task.ErrNotFound},
		{alice, "none", task.ErrNotFound},
	} {
		u, err := b.Unfed(t.Context(), row.owner, row.id)
		b.is(row.id, err, row.want)
		if row.want != nil {
			continue
		}
		r := u.Record()
		if u.ID() != row.id || r.ID() != row.id || r.Owner != alice || r.Task.ContextID != id || r.State() != a2a.TaskStateSubmitted || r.Stamp().IsZero() {
			t.Errorf("%s is %+v", row.id, r)
		}
	}

	b.w.SetBatch(id, batch.State{})
	_, err := b.Unfed(t.Context(), alice, task.ItemID(id, 11))
	b.is("while the manifest is read", err, batchdesk.ErrScanning)

	b.w.SetBatch(id, batch.State{Lines: lines, Fed: 10})
	if _, err := b.Cancel(t.Context(), alice, id); err != nil {
		t.Fatal(err)
	}
	u, err := b.Unfed(t.Context(), alice, task.ItemID(id, 11))
	if r := u.Record(); err != nil || r.State() != a2a.TaskStateCanceled || r.Task.Status.Message == nil {
		t.Errorf("after the end of the batch: %+v, %v", r.Task, err)
	}
	b.is("canceled then", b.Withhold(t.Context(), u), batchdesk.ErrClosed)
	b.is("begun then", b.Begin(t.Context(), u), batchdesk.ErrClosed)

	if _, err := b.config.Desk.ChangeByID(t.Context(), id, task.Record.Delete); err != nil {
		t.Fatal(err)
	}
	_, err = b.Unfed(t.Context(), alice, task.ItemID(id, 11))
	if !errors.Is(err, task.ErrNotFound) || errors.Is(err, task.ErrDeleted) {
		t.Errorf("after the deletion of the batch: %v", err)
	}
}

// A line that the batch before has answered never becomes an item of its retry.
func TestUnfedLinesOfARetry(t *testing.T) {
	b := newBench(t)
	first := b.fed(lines)
	b.put(batch.ResultsFile(first), `{"id":"a","line":1001}`+"\n"+`{"id":"b","line":1700}`+"\n")
	b.w.EndBatch(first, a2a.TaskStateCompleted, batch.State{Dialect: batch.Errand, Lines: lines, Fed: lines, Counts: batch.Counts{Completed: 2, Failed: lines - 2}})
	b.put(batch.ResultsFile(first), "two answers")
	again, _, err := b.Retry(t.Context(), alice, first)
	if err != nil {
		t.Fatal(err)
	}
	b.put(batch.CopiesSegment(again.ID(), 1), `{"id":"a","line":1001}`+"\n"+`{"id":"b","line":1700}`+"\n")
	b.w.SetBatch(again.ID(), batch.State{Dialect: batch.Errand, Lines: lines, Fed: 10})
	for line, want := range map[int]error{1001: task.ErrNotFound, 1700: task.ErrNotFound, 1002: nil, 1701: nil, 500: nil, lines: nil} {
		_, err := b.Unfed(t.Context(), alice, task.ItemID(again.ID(), line))
		b.is(fmt.Sprint("line ", line), err, want)
	}
}

// A line that is canceled before it is fed has a record that has ended, and adds no job. The
// feeder finds it.
func TestWithheldLine(t *testing.T) {
	b := newBench(t)
	id := b.fed(10)
	item := task.ItemID(id, 1200)
	u, err := b.Unfed(t.Context(), alice, item)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := b.Withhold(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
	r := b.w.Load(item)
	if r.State() != a2a.TaskStateCanceled || r.Owner != alice || r.Task.ContextID != id || len(b.w.Jobs.Take()) != 0 {
		t.Errorf("the record is %+v", r)
	}

	b.is("deleted, a line that is not there", b.WithholdItem(t.Context(), alice, task.ItemID(id, lines+1)), task.ErrNotFound)
	b.is("deleted, another's line", b.WithholdItem(t.Context(), bob, task.ItemID(id, 13)), task.ErrNotFound)
	if err := b.WithholdItem(t.Context(), alice, task.ItemID(id, 13)); err != nil || b.w.Load(task.ItemID(id, 13)).State() != a2a.TaskStateCanceled {
		t.Errorf("deleted: %v", err)
	}

	if err := b.config.Desk.Feed(t.Context(), desk.Item{Batch: b.w.Load(id), Line: 1200, Message: a2a.NewMessage(a2a.MessageRoleUser)}); err != nil {
		t.Fatal(err)
	}
	if again := b.w.Load(item); again.Version != r.Version {
		t.Error("the feeder has changed it")
	}
}

// A line can begin before its turn, and is the item that the feeder would have made.
func TestLineBegunEarly(t *testing.T) {
	b := newBench(t)
	id := b.fed(10)
	for _, n := range []int{11, 1000, 1001, 2345, lines} {
		item := task.ItemID(id, n)
		u, err := b.Unfed(t.Context(), alice, item)
		if err == nil {
			err = b.Begin(t.Context(), u)
		}
		if err != nil {
			t.Fatal(err)
		}

		r := b.w.Load(item)
		if got := r.Task.History[0].Parts[0].Text(); got != fmt.Sprintf("text of line %d", n) || r.Lane != task.Bulk || r.State() != a2a.TaskStateSubmitted {
			t.Errorf("line %d is %q, %+v", n, got, r)
		}
		if of, line, ok := batch.LineOf(r); of != fmt.Sprintf("id-%d", n) || line != n || !ok {
			t.Errorf("line %d is %s, %d, %v", n, of, line, ok)
		}
		if jobs := b.w.Jobs.Take(); len(jobs) != 1 || jobs[0].Task != item || jobs[0].Queue != task.Bulk {
			t.Errorf("the jobs are %v", jobs)
		}
	}
}

// A line that begins while its batch ends is ended with it.
func TestLineBegunAtTheEndOfItsBatch(t *testing.T) {
	b := newBench(t)
	id := b.fed(10)
	item := task.ItemID(id, 11)
	u, err := b.Unfed(t.Context(), alice, item)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Cancel(t.Context(), alice, id); err != nil {
		t.Fatal(err)
	}
	b.is("begun", b.Begin(t.Context(), u), batchdesk.ErrClosed)
	if r := b.w.Load(item); r.State() != a2a.TaskStateCanceled {
		t.Errorf("it is %s", r.State())
	}
}

// source is a Source with one object.
type source struct{ err error }

func (s source) Stat(_ context.Context, url string) (objects.Object, error) {
	return objects.Object{URL: url, Generation: 7, Size: 9}, s.err
}

func (s source) Open(context.Context, string, int64, int64) (io.ReadCloser, error) {
	return nil, s.err
}

// An object is pinned as it is now. What the caller may not read is as what is not there, and
// what nobody can read has a reason.
func TestObjects(t *testing.T) {
	const url = "gs://acme-in/a.jsonl"
	may := func(owner, _ string) bool { return owner == alice }
	pin := func(err error, owner, url string) (batch.Input, error) {
		return batchdesk.ObjectsOf(objects.Guarded{Source: source{err}, May: may})(t.Context(), owner, url)
	}

	if in, err := pin(nil, alice, url); err != nil || in != (batch.Input{Object: url, Generation: 7, Size: 9}) {
		t.Errorf("%+v, %v", in, err)
	}
	for _, row := range []struct {
		err   error
		owner string
		want  error
	}{{nil, bob, batchdesk.ErrInput}, {objects.ErrNotFound, alice, batchdesk.ErrInput}, {io.ErrUnexpectedEOF, alice, io.ErrUnexpectedEOF}} {
		if _, err := pin(row.err, row.owner, url); !errors.Is(err, row.want) {
			t.Errorf("%v for %s: %v", row.err, row.owner, err)
		}
	}
	for _, err := range []error{objects.ErrEncoded, objects.ErrCredentials} {
		_, err := pin(err, alice, url)
		if f, ok := errors.AsType[*batchdesk.FieldError](err); !ok || f.Field != "input" {
			t.Errorf("%v", err)
		}
	}
	_, err := pin(nil, alice, "gs://acme-in")
	if f, ok := errors.AsType[*batchdesk.FieldError](err); !ok || f.Field != "input" {
		t.Errorf("no address: %v", err)
	}
}
