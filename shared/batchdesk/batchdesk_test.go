package batchdesk_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"

	"errand/shared/adapters/gcp"
	"errand/shared/adapters/local"
	"errand/shared/batch"
	"errand/shared/batchdesk"
	"errand/shared/desk"
	"errand/shared/files"
	"errand/shared/kv"
	"errand/shared/lab/fake"
	"errand/shared/lab/faulty"
	"errand/shared/lab/world"
	"errand/shared/task"
	"errand/shared/uploads"
)

// A bench is a desk of batches on a real database and a real folder, with a clock of its own. Nothing
// runs the batches.
type bench struct {
	*testing.T
	*batchdesk.Desk
	w       *world.World
	config  batchdesk.Config
	files   *files.Store
	uploads *uploads.Store
	passed  atomic.Int64 // by which the clock is ahead
	objects map[string]batch.Input
}

const alice, bob = "acme/alice", "other/bob"

func newBench(t *testing.T) *bench {
	b := &bench{T: t, objects: map[string]batch.Input{}}
	start := time.Now()
	now := func() time.Time { return start.Add(time.Duration(b.passed.Load())) }
	b.w = world.New(t, world.Config{Now: now})
	dir := filepath.Join(t.TempDir(), "files")
	b.files = files.New(func(context.Context) (files.Place, error) { return local.OpenFolder(local.FolderConfig{Dir: dir}) }, now)
	t.Cleanup(func() { _ = b.files.Close() })
	b.uploads = uploads.New(uploads.Config{Files: b.files, KV: b.w.Store.KV(), Now: now})
	b.config = batchdesk.Config{
		Desk: b.w.Desk(b.w.Store), Store: b.w.Store, KV: b.w.Store.KV(), Files: b.files, Uploads: b.uploads, Log: b.w.Log, Currency: "USD",
		Object: func(_ context.Context, owner, name string) (batch.Input, error) {
			if in, ok := b.objects[owner+" "+name]; ok {
				return in, nil
			}
			return batch.Input{}, batchdesk.ErrInput
		},
	}
	b.Desk = batchdesk.New(b.config)
	return b
}

func (b *bench) pass(d time.Duration) { b.passed.Add(int64(d)) }

// configure replaces the bench's desk by one with another configuration.
func (b *bench) configure(edit func(*batchdesk.Config)) {
	c := b.config
	edit(&c)
	b.Desk = batchdesk.New(c)
}

// upload stores a manifest of an owner.
func (b *bench) upload(owner, text string) string {
	b.Helper()
	f, err := b.uploads.Create(b.Context(), owner, uploads.Upload{Purpose: uploads.Batch}, strings.NewReader(text))
	if err != nil {
		b.Fatal(err)
	}
	return f.ID
}

// submit submits what must be accepted.
func (b *bench) submit(owner string, sub batchdesk.Submission) (batchdesk.Batch, bool) {
	b.Helper()
	got, made, err := b.Submit(b.Context(), owner, sub)
	if err != nil {
		b.Fatal(err)
	}
	return got, made
}

// named submits a manifest of its own under a name.
func (b *bench) named(owner, name string) batchdesk.Batch {
	b.Helper()
	got, _ := b.submit(owner, batchdesk.Submission{Name: name, Input: b.upload(owner, name)})
	return got
}

// listed are the names of an owner's batches, as a list of pages of that size has them.
func (b *bench) listed(owner string, limit int) (names []string) {
	b.Helper()
	for after := ""; ; {
		page, more, err := b.List(b.Context(), owner, after, limit)
		if err != nil {
			b.Fatal(err)
		}
		if len(page) > limit {
			b.Fatalf("a page has %d batches, want %d at most", len(page), limit)
		}
		for _, l := range page {
			names = append(names, l.Spec.Name)
		}
		if more == "" {
			return names
		}
		after = more
	}
}

func (b *bench) is(what string, got, want error) {
	b.Helper()
	if !errors.Is(got, want) {
		b.Errorf("%s: %v, want %v", what, got, want)
	}
}

// A submission becomes a task of the lane for batches, with the spec in its first message, the
// end of its retention, and one job.
func TestSubmit(t *testing.T) {
	b := newBench(t)
	file := b.upload(alice, "a line")
	budget := &batch.Budget{Tokens: 1000}
	before := b.w.Now().Truncate(time.Millisecond)
	got, made := b.submit(alice, batchdesk.Submission{Name: "nightly", Input: file, Budget: budget, OnBad: batch.Skip, Metadata: map[string]string{"a": "b"}})
	id := task.BatchID(alice, "nightly")
	if !made || got.ID() != id {
		t.Errorf("made %v, the batch %s, want %s", made, got.ID(), id)
	}

	at := got.Spec.At
	want := batch.Spec{
		Name: "nightly", At: at, Deadline: at.Add(24 * time.Hour), Budget: budget, OnBad: batch.Skip, Metadata: map[string]string{"a": "b"},
		Input: batch.Input{File: file, SHA256: fmt.Sprintf("%x", sha256.Sum256([]byte("a line"))), Size: 6},
	}
	if diff := cmp.Diff(want, got.Spec); diff != "" || at.Before(before) || at.After(b.w.Now()) {
		t.Errorf("the spec of %v (-want +got):\n%s", at, diff)
	}

	r := b.w.Load(id)
	if r.Lane != task.Batches || r.Owner != alice || r.Task.ContextID != id || r.State() != a2a.TaskStateSubmitted || !r.Ends.Equal(want.Deadline.Add(30*24*time.Hour)) {
		t.Errorf("the record is %+v", r)
	}
	if jobs := b.w.Jobs.Take(); len(jobs) != 1 || jobs[0].Queue != task.Batches || jobs[0].Task != id || jobs[0].Path == "" {
		t.Errorf("the jobs are %+v", jobs)
	}

	b.pass(uploads.Day)
	if _, err := b.uploads.Find(t.Context(), alice, file); err != nil {
		t.Errorf("after a day the manifest of the batch is gone: %v", err)
	}
}

// The same submission is the same batch, whatever file has its bytes. Another one under its
// name is refused with the field that differs, and changes nothing.
func TestSubmitAgain(t *testing.T) {
	b := newBench(t)
	file := b.upload(alice, "a line")
	first, _ := b.submit(alice, batchdesk.Submission{Name: "n", Input: file, Budget: &batch.Budget{Tokens: 5}})
	b.w.Jobs.Take()

	b.pass(time.Minute)
	for _, input := range []string{file, b.upload(alice, "a line")} {
		again, made := b.submit(alice, batchdesk.Submission{Name: "n", Input: input, Budget: &batch.Budget{Tokens: 5}, OnBad: batch.Refuse})
		if made || again.Record.Version != first.Record.Version {
			t.Errorf("made %v, version %d, want %d", made, again.Record.Version, first.Record.Version)
		}
	}

	for field, sub := range map[string]batchdesk.Submission{
		"input":     {Input: b.upload(alice, "another line"), Budget: &batch.Budget{Tokens: 5}},
		"budget":    {Input: file},
		"onBadLine": {Input: file, Budget: &batch.Budget{Tokens: 5}, OnBad: batch.Skip},
		"endpoint":  {Input: file, Budget: &batch.Budget{Tokens: 5}, Endpoint: "/v1/chat/completions"},
		"metadata":  {Input: file, Budget: &batch.Budget{Tokens: 5}, Metadata: map[string]string{"a": "b"}},
	} {
		sub.Name = "n"
		_, _, err := b.Submit(t.Context(), alice, sub)
		if m, ok := errors.AsType[*desk.Mismatch](err); !ok || m.Field != field {
			t.Errorf("with another %s: %v", field, err)
		}
	}

	if got := b.w.Load(first.ID()); got.Version != first.Record.Version {
		t.Error("a refused submission has changed the batch")
	}
	if _, err := b.config.Desk.ChangeByID(t.Context(), first.ID(), task.Record.Delete); err != nil {
		t.Fatal(err)
	}
	_, _, err := b.Submit(t.Context(), alice, batchdesk.Submission{Name: "n", Input: file, Budget: &batch.Budget{Tokens: 5}})
	b.is("after a deletion", err, batchdesk.ErrTaken)
	if _, made := b.submit(bob, batchdesk.Submission{Name: "n", Input: b.upload(bob, "a line")}); !made {
		t.Error("another owner's name is not free")
	}
}

// Without a name the manifest names the batch.
func TestNameOfTheManifest(t *testing.T) {
	b := newBench(t)
	one, _ := b.submit(alice, batchdesk.Submission{Input: b.upload(alice, "a line")})
	if one.Spec.Name != one.Spec.Input.SHA256 {
		t.Errorf("the name is %q, want the hash %s", one.Spec.Name, one.Spec.Input.SHA256)
	}
	if again, made := b.submit(alice, batchdesk.Submission{Input: b.upload(alice, "a line")}); made || again.ID() != one.ID() {
		t.Error("the same bytes made another batch")
	}
	if other, made := b.submit(alice, batchdesk.Submission{Input: b.upload(alice, "line 2")}); !made || other.ID() == one.ID() {
		t.Error("other bytes made no batch of their own")
	}

	const object = "gs://in/a.jsonl"
	for generation := range int64(2) {
		b.objects[alice+" "+object] = batch.Input{Object: object, Generation: 1700000000000001 + generation, Size: 7}
		got, made := b.submit(alice, batchdesk.Submission{Input: object})
		_, again := b.submit(alice, batchdesk.Submission{Input: object})
		if !made || again || got.Spec.Input != b.objects[alice+" "+object] {
			t.Errorf("an object: made %v, again %v: %+v", made, again, got.Spec.Input)
		}
		b.w.EndBatch(got.ID(), a2a.TaskStateCompleted, batch.State{})
	}
}

// A manifest that was sent by a signed request is completed by its submission.
func TestSignedManifest(t *testing.T) {
	b := newBench(t)
	const bucket = "my-project-errand-files"
	service := fake.StartStorage(t, bucket)
	signing, _ := service.Signing(t)
	store := files.New(func(ctx context.Context) (files.Place, error) {
		return gcp.OpenBucket(ctx, gcp.BucketConfig{Bucket: bucket, Endpoint: service.Addr, Signing: signing})
	}, b.w.Now)
	t.Cleanup(func() { _ = store.Close() })
	b.uploads = uploads.New(uploads.Config{Files: store, KV: b.w.Store.KV(), Now: b.w.Now})
	b.configure(func(c *batchdesk.Config) { c.Uploads = b.uploads })

	id, signed, err := b.uploads.Begin(t.Context(), alice, uploads.Upload{Purpose: uploads.Batch, Size: 5})
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = b.Submit(t.Context(), alice, batchdesk.Submission{Input: id})
	b.is("before it is sent", err, uploads.ErrAwaited)
	fake.Send(t, signed.Method, signed.URL, signed.Header, "lines")
	if got, made := b.submit(alice, batchdesk.Submission{Input: id}); !made || got.Spec.Input.File != id || got.Spec.Input.Size != 5 || got.Spec.Input.SHA256 == "" {
		t.Errorf("made %v, %+v", made, got.Spec)
	}
}

// A name that its owner may not read is as one that is not there.
func TestForeignInputs(t *testing.T) {
	b := newBench(t)
	b.objects[bob+" gs://bobs/a"] = batch.Input{Object: "gs://bobs/a", Generation: 1, Size: 1}
	var told []string
	for _, input := range []string{b.upload(bob, "a line"), "file-aaaaaaaaaaaaaaaaaaaaaaaaaa", "gs://bobs/a", "gs://nobodys/a"} {
		_, _, err := b.Submit(t.Context(), alice, batchdesk.Submission{Name: "n", Input: input})
		b.is(input, err, batchdesk.ErrInput)
		told = append(told, err.Error())
	}
	if told[0] != told[1] || told[2] != told[3] {
		t.Errorf("the errors tell what exists: %q", told)
	}
	if names := b.listed(alice, 10); len(names) > 0 || len(b.w.Jobs.All()) > 0 {
		t.Errorf("there are the batches %q and the jobs %v", names, b.w.Jobs.All())
	}
}

// Each fault of a submission names its field, and makes nothing.
func TestFaults(t *testing.T) {
	b := newBench(t)
	file := b.upload(alice, "a line")
	for i, row := range []struct {
		field string
		sub   batchdesk.Submission
	}{
		{"name", batchdesk.Submission{Name: "with a space"}},
		{"name", batchdesk.Submission{Name: "umläut"}},
		{"name", batchdesk.Submission{Name: "retry~1"}},
		{"name", batchdesk.Submission{Name: strings.Repeat("x", 129)}},
		{"input", batchdesk.Submission{Input: "https://example.com/a"}},
		{"input", batchdesk.Submission{Input: b.upload(alice, "")}},
		{"deadline", batchdesk.Submission{Deadline: b.w.Now()}},
		{"deadline", batchdesk.Submission{Deadline: b.w.Now().Add(batch.MaxDeadline + time.Minute)}},
		{"onBadLine", batchdesk.Submission{OnBad: "ignore"}},
		{"budget", batchdesk.Submission{Budget: &batch.Budget{}}},
		{"budget", batchdesk.Submission{Budget: &batch.Budget{Tokens: -1}}},
		{"budget", batchdesk.Submission{Budget: &batch.Budget{Tokens: 1, Price: 1, Currency: "USD"}}},
		{"budget", batchdesk.Submission{Budget: &batch.Budget{Tokens: 1, Currency: "USD"}}},
		{"budget", batchdesk.Submission{Budget: &batch.Budget{Price: 1, Currency: "EUR"}}},
		{"budget", batchdesk.Submission{Budget: &batch.Budget{Price: 1, Currency: "usd"}}},
	} {
		if row.sub.Input == "" {
			row.sub.Input = file
		}
		_, _, err := b.Submit(t.Context(), alice, row.sub)
		if f, ok := errors.AsType[*batchdesk.FieldError](err); !ok || f.Field != row.field || f.Fault == "" {
			t.Errorf("%d: %v, want a fault of %s", i, err, row.field)
		}
	}

	if names := b.listed(alice, 10); len(names) > 0 {
		t.Errorf("there are the batches %q", names)
	}
	b.configure(func(c *batchdesk.Config) { c.Currency = "" })
	_, _, err := b.Submit(t.Context(), alice, batchdesk.Submission{Input: file, Budget: &batch.Budget{Price: 1, Currency: "USD"}})
	if f, ok := errors.AsType[*batchdesk.FieldError](err); !ok || f.Field != "budget" {
		t.Errorf("a price where there are none: %v", err)
	}
}

// An owner has at most four batches that have not ended. One that ends makes room, however it
// ends. What was submitted before is found.
func TestActive(t *testing.T) {
	b := newBench(t)
	var all []batchdesk.Batch
	for i := range batch.MaxActive {
		all = append(all, b.named(alice, fmt.Sprint("n", i)))
	}

	more := batchdesk.Submission{Name: "more", Input: b.upload(alice, "more")}
	refused := func() {
		t.Helper()
		_, _, err := b.Submit(t.Context(), alice, more)
		b.is("one more", err, batchdesk.ErrActive)
	}
	refused()
	if _, made := b.submit(alice, batchdesk.Submission{Name: "n1", Input: b.upload(alice, "n1")}); made {
		t.Error("one that is there was made again")
	}
	b.named(bob, "his")

	paused, err := b.Pause(t.Context(), alice, all[0].ID())
	if err != nil || paused.Record.State() != a2a.TaskStateInputRequired {
		t.Fatal(paused.Record.State(), err)
	}
	refused()

	end := []func(id string){
		func(id string) { b.w.EndBatch(id, a2a.TaskStateCompleted, batch.State{}) },
		func(id string) {
			if _, err := b.Cancel(t.Context(), alice, id); err != nil {
				t.Fatal(err)
			}
		},
		func(id string) {
			if _, err := b.config.Desk.ChangeByID(t.Context(), id, task.Record.Delete); err != nil {
				t.Fatal(err)
			}
		},
	}
	for i, f := range end {
		f(all[len(all)-1-i].ID())
		if _, made := b.submit(alice, batchdesk.Submission{Name: fmt.Sprint("more", i), Input: b.upload(alice, "more")}); !made {
			t.Errorf("after end %d no batch was made", i)
		}
		refused()
	}
}

// However many submissions come at once, by however many processes, no more are made.
func TestActiveAtOnce(t *testing.T) {
	b := newBench(t)
	var all sync.WaitGroup
	var made, refused atomic.Int64
	for i := range 24 {
		input := b.upload(alice, fmt.Sprint("line", i))
		c := batchdesk.New(b.config)
		all.Go(func() {
			_, new, err := c.Submit(t.Context(), alice, batchdesk.Submission{Input: input})
			switch {
			case err == nil && new:
				made.Add(1)
			case errors.Is(err, batchdesk.ErrActive):
				refused.Add(1)
			case !errors.Is(err, kv.ErrConflict):
				t.Error(err)
			}
		})
	}
	all.Wait()
	if names := b.listed(alice, 10); made.Load() > batch.MaxActive || len(names) != int(made.Load()) || refused.Load() == 0 {
		t.Errorf("%d were made and %d refused, and the list has %d", made.Load(), refused.Load(), len(names))
	}
}

// A submission that dies before its record leaves no place taken for long, and nobody takes
// the place while the record may still come.
func TestSubmissionsThatDie(t *testing.T) {
	b := newBench(t)
	broken := errors.New("broken")
	b.configure(func(c *batchdesk.Config) { c.Desk = b.w.Desk(faulty.Refusing(b.w.Store, faulty.Create, broken)) })
	for i := range batch.MaxActive {
		_, _, err := b.Submit(t.Context(), alice, batchdesk.Submission{Name: fmt.Sprint("n", i), Input: b.upload(alice, "a line")})
		b.is("a submission that dies", err, broken)
	}

	b.configure(func(*batchdesk.Config) {})
	if names := b.listed(alice, 10); len(names) > 0 {
		t.Errorf("the list has %q", names)
	}
	_, _, err := b.Submit(t.Context(), alice, batchdesk.Submission{Name: "more", Input: b.upload(alice, "more")})
	b.is("while the records may come", err, batchdesk.ErrActive)
	if _, made := b.submit(alice, batchdesk.Submission{Name: "n0", Input: b.upload(alice, "a line")}); !made {
		t.Error("one of them was not made when it came again")
	}

	b.pass(batch.Reserved)
	for i := range batch.MaxActive - 1 {
		b.pass(time.Millisecond) // in which the list has an order
		b.named(alice, fmt.Sprint("m", i))
	}
	_, _, err = b.Submit(t.Context(), alice, batchdesk.Submission{Name: "more", Input: b.upload(alice, "more")})
	b.is("one more", err, batchdesk.ErrActive)
	if diff := cmp.Diff([]string{"m2", "m1", "m0", "n0"}, b.listed(alice, 10)); diff != "" {
		t.Errorf("the list (-want +got):\n%s", diff)
	}
}

// A submission that was held up for long makes no record: its place may be taken.
func TestLateSubmission(t *testing.T) {
	b := newBench(t)
	slow := faulty.Store{Store: b.w.Store, Before: func(c faulty.Call) error {
		if c.Op == faulty.Load {
			b.pass(batch.MakeWithin)
		}
		return nil
	}}
	b.configure(func(c *batchdesk.Config) { c.Desk = b.w.Desk(slow) })
	_, _, err := b.Submit(t.Context(), alice, batchdesk.Submission{Name: "n", Input: b.upload(alice, "a line")})
	b.is("a late submission", err, batchdesk.ErrLate)
	_, err = b.Find(t.Context(), alice, task.BatchID(alice, "n"))
	b.is("its batch", err, task.ErrNotFound)
}

// A submission whose answer is lost is found, and is new.
func TestLostAnswer(t *testing.T) {
	b := newBench(t)
	b.configure(func(c *batchdesk.Config) { c.Desk = b.w.Desk(faulty.Losing(b.w.Store, faulty.Create, 1)) })
	if _, made := b.submit(alice, batchdesk.Submission{Name: "n", Input: b.upload(alice, "a line")}); !made {
		t.Error("it was not made")
	}
	if jobs := b.w.Jobs.Take(); len(jobs) != 1 {
		t.Errorf("the jobs are %v", jobs)
	}
	if names := b.listed(alice, 10); len(names) != 1 {
		t.Errorf("the list has %q", names)
	}
}

// A list has each batch of the owner once, newest first, and costs nothing for other tasks.
func TestList(t *testing.T) {
	b := newBench(t)
	var want []string
	for i := range 7 {
		name := fmt.Sprint("n", i)
		got := b.named(alice, name)
		b.w.EndBatch(got.ID(), a2a.TaskStateCompleted, batch.State{Lines: i + 1})
		want = append([]string{name}, want...)
		b.pass(time.Second)
	}
	b.named(bob, "his")
	for i := range 5 {
		m := a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart("hello"))
		m.ID = fmt.Sprint(i)
		if _, err := b.config.Desk.Accept(t.Context(), desk.Message{Owner: alice, Message: m}); err != nil {
			t.Fatal(err)
		}
	}

	for _, limit := range []int{1, 2, 3, 7, 100} {
		if diff := cmp.Diff(want, b.listed(alice, limit)); diff != "" {
			t.Errorf("in pages of %d (-want +got):\n%s", limit, diff)
		}
	}

	page, _, err := b.List(t.Context(), alice, "", 1)
	if err != nil || page[0].State.Lines != 7 || page[0].Record.State() != a2a.TaskStateCompleted {
		t.Errorf("the newest is %+v, %v", page, err)
	}
	if _, err := b.config.Desk.ChangeByID(t.Context(), page[0].ID(), task.Record.Delete); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want[1:], b.listed(alice, 2)); diff != "" {
		t.Errorf("after a deletion (-want +got):\n%s", diff)
	}
}

// A batch is found by its owner alone, with two reads.
func TestFind(t *testing.T) {
	b := newBench(t)
	id := b.named(alice, "n").ID()
	loads := 0
	b.configure(func(c *batchdesk.Config) {
		c.Store = faulty.Store{Store: b.w.Store, Before: func(faulty.Call) error { loads++; return nil }}
		c.KV = countedKV{c.KV, &loads}
	})
	b.w.SetBatch(id, batch.State{Lines: 5, Fed: 2})
	got, err := b.Find(t.Context(), alice, id)
	if err != nil || got.State.Lines != 5 || got.Spec.Name != "n" || loads != 2 {
		t.Errorf("%+v, %v after %d reads", got, err, loads)
	}

	loads = 0
	_, err = b.Find(t.Context(), bob, id)
	b.is("a foreign batch", err, task.ErrNotFound)
	_, err = b.Find(t.Context(), alice, "nothing")
	b.is("no batch", err, task.ErrNotFound)
	if loads != 0 {
		t.Errorf("%d reads for what is none of the caller's", loads)
	}

	m := a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart("hello"))
	r, err := b.config.Desk.Accept(t.Context(), desk.Message{Owner: alice, Message: m})
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Find(t.Context(), alice, r.ID())
	b.is("a task that is no batch", err, task.ErrNotFound)
}

type countedKV struct {
	kv.Store
	n *int
}

func (c countedKV) Get(ctx context.Context, key string) (kv.Entry, error) {
	*c.n++
	return c.Store.Get(ctx, key)
}

// Pause and resume are idempotent. A resume may change the budget, and two equal ones are one
// message.
func TestPauseAndResume(t *testing.T) {
	b := newBench(t)
	id := b.named(alice, "n").ID()
	world.Claim(t, b.w.Store, id, b.w.Moment(), time.Minute)

	var paused batchdesk.Batch
	for range 2 {
		var err error
		if paused, err = b.Pause(t.Context(), alice, id); err != nil || paused.Record.State() != a2a.TaskStateInputRequired {
			t.Fatal(paused.Record.State(), err)
		}
	}
	if paused.Record.Epoch != 2 || paused.Record.Lease != (task.Lease{}) {
		t.Errorf("after two pauses: epoch %d, lease %+v", paused.Record.Epoch, paused.Record.Lease)
	}

	b.w.Jobs.Take()
	budget := &batch.Budget{Tokens: 99}
	var resumed batchdesk.Batch
	for range 2 {
		var err error
		if resumed, err = b.Resume(t.Context(), alice, id, budget); err != nil || resumed.Record.State() != a2a.TaskStateSubmitted {
			t.Fatal(resumed.Record.State(), err)
		}
	}
	if !budget.Equal(batch.BudgetOf(resumed.Record)) || len(resumed.Record.Requests) != 2 || len(b.w.Jobs.Take()) != 1 {
		t.Errorf("after two resumes: %+v", resumed.Record)
	}
	if got, err := b.Resume(t.Context(), alice, id, nil); err != nil || got.Record.Version != resumed.Record.Version {
		t.Errorf("a resume of a batch that goes on: %v", err)
	}

	world.Claim(t, b.w.Store, id, b.w.Moment(), time.Minute)
	if got, err := b.Resume(t.Context(), alice, id, &batch.Budget{Tokens: 100}); err != nil || len(got.Record.Inbox) != 1 || batch.BudgetOf(got.Record).Tokens != 100 {
		t.Errorf("another budget while it runs: %+v, %v", got.Record.Inbox, err)
	}
	_, err := b.Resume(t.Context(), alice, id, &batch.Budget{Tokens: -1})
	if _, ok := errors.AsType[*batchdesk.FieldError](err); !ok {
		t.Errorf("a bad budget: %v", err)
	}

	for what, f := range map[string]func(owner string) error{
		"pause":  func(owner string) error { _, err := b.Pause(t.Context(), owner, id); return err },
		"resume": func(owner string) error { _, err := b.Resume(t.Context(), owner, id, nil); return err },
		"retry":  func(owner string) error { _, _, err := b.Retry(t.Context(), owner, id); return err },
		"cancel": func(owner string) error { _, err := b.Cancel(t.Context(), owner, id); return err },
	} {
		b.is(what+" of a foreign batch", f(bob), task.ErrNotFound)
		if what == "retry" {
			b.is(what+" of a running batch", f(alice), batchdesk.ErrRunning)
		}
	}

	for range 2 {
		if got, err := b.Cancel(t.Context(), alice, id); err != nil || got.Record.State() != a2a.TaskStateCanceled {
			t.Errorf("canceled: %s, %v", got.Record.State(), err)
		}
	}
	_, err = b.Pause(t.Context(), alice, id)
	b.is("pause after the end", err, batchdesk.ErrEnded)
	_, err = b.Resume(t.Context(), alice, id, nil)
	b.is("resume after the end", err, batchdesk.ErrEnded)
}

// Two equal resumes at once are one message.
func TestResumesAtOnce(t *testing.T) {
	b := newBench(t)
	id := b.named(alice, "n").ID()
	if _, err := b.Pause(t.Context(), alice, id); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := b.Resume(t.Context(), alice, id, &batch.Budget{Tokens: 7}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if r := b.w.Load(id); len(r.Requests) != 2 || r.State() != a2a.TaskStateSubmitted {
		t.Errorf("%d messages, %s", len(r.Requests), r.State())
	}
}

// A retry is a batch of its own that names the first one. It is one, however often it is asked
// for.
func TestRetry(t *testing.T) {
	b := newBench(t)
	first := b.named(alice, "n")
	b.pass(time.Hour)
	b.w.EndBatch(first.ID(), a2a.TaskStateCompleted, batch.State{Lines: 3, Counts: batch.Counts{Completed: 1, Failed: 2}})
	_, _, err := b.Retry(t.Context(), alice, first.ID())
	b.is("a retry without the answers so far", err, batchdesk.ErrDropped)
	b.put(batch.ResultsFile(first.ID()), "one\n")

	var again batchdesk.Batch
	for i := range 2 {
		got, made, err := b.Retry(t.Context(), alice, first.ID())
		if err != nil || made != (i == 0) || got.ID() != task.BatchID(alice, "n~1") || got.Spec.Retry != first.ID() || got.Spec.Input != first.Spec.Input {
			t.Fatalf("made %v, %+v, %v", made, got.Spec, err)
		}
		again = got
	}
	if left := again.Spec.Deadline.Sub(again.Spec.At).Round(time.Minute); left != batch.Deadline {
		t.Errorf("the retry has %v", left)
	}

	_, _, err = b.Retry(t.Context(), alice, again.ID())
	b.is("a retry that runs", err, batchdesk.ErrRunning)
	b.w.EndBatch(again.ID(), a2a.TaskStateCompleted, batch.State{Lines: 3, Counts: batch.Counts{Completed: 2, Failed: 1}})
	b.put(batch.ResultsFile(again.ID()), "one\ntwo\n")
	third, made, err := b.Retry(t.Context(), alice, again.ID())
	if err != nil || !made || third.Spec.Name != "n~2" || third.Spec.Retry != again.ID() {
		t.Errorf("the retry of a retry: made %v, %+v, %v", made, third.Spec, err)
	}

	b.w.EndBatch(third.ID(), a2a.TaskStateCompleted, batch.State{Lines: 3, Counts: batch.Counts{Completed: 3}})
	_, _, err = b.Retry(t.Context(), alice, third.ID())
	b.is("nothing failed", err, batchdesk.ErrNothing)

	const object = "gs://in/a.jsonl"
	b.objects[alice+" "+object] = batch.Input{Object: object, Generation: 1, Size: 7}
	changed, _ := b.submit(alice, batchdesk.Submission{Name: "o", Input: object})
	b.w.EndBatch(changed.ID(), a2a.TaskStateFailed, batch.State{Lines: 3, Counts: batch.Counts{Failed: 3}})
	b.objects[alice+" "+object] = batch.Input{Object: object, Generation: 2, Size: 7}
	_, _, err = b.Retry(t.Context(), alice, changed.ID())
	if f, ok := errors.AsType[*batchdesk.FieldError](err); !ok || f.Field != "input" {
		t.Errorf("a retry of an object that has changed: %v", err)
	}
	delete(b.objects, alice+" "+object)
	_, _, err = b.Retry(t.Context(), alice, changed.ID())
	b.is("a retry without the right to its object", err, batchdesk.ErrInput)
}

// put stores a file of a batch.
func (b *bench) put(name, text string) {
	b.Helper()
	if _, err := b.files.Put(b.Context(), files.Upload{Name: name, Owner: alice}, strings.NewReader(text)); err != nil {
		b.Fatal(err)
	}
}

// Results are the segments so far, and the file at the end. A reader that is among the
// segments when they go gets the rest from the file.
func TestOutput(t *testing.T) {
	b := newBench(t)
	id := b.named(alice, "n").ID()
	read := func() (string, *batchdesk.Output) {
		t.Helper()
		found, err := b.Find(t.Context(), alice, id)
		if err != nil {
			t.Fatal(err)
		}
		o, err := b.Results(t.Context(), found)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := o.Copy(t.Context(), &out); err != nil {
			t.Fatal(err)
		}
		return out.String(), o
	}

	if text, o := read(); text != "" || o.Complete || o.Lines != 0 || o.Size != -1 {
		t.Errorf("at first: %q, %+v", text, o)
	}
	b.put(batch.ResultsSegment(id, 0), "one\n")
	b.put(batch.ResultsSegment(id, 1), "two\n")
	b.put(batch.ResultsSegment(id, 2), "not yet counted\n")
	b.w.SetBatch(id, batch.State{Lines: 2500, Segs: 2})
	if text, o := read(); text != "one\ntwo\n" || o.Complete || o.Lines != 2000 {
		t.Errorf("so far: %q, %+v", text, o)
	}

	found, err := b.Find(t.Context(), alice, id)
	if err != nil {
		t.Fatal(err)
	}
	o, err := b.Results(t.Context(), found)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.files.Delete(t.Context(), batch.ResultsSegment(id, 1)); err != nil {
		t.Fatal(err)
	}
	b.is("a segment that is missing", o.Copy(t.Context(), &bytes.Buffer{}), files.ErrNotFound)

	b.put(batch.ResultsFile(id), "one\ntwo\nthree\n")
	b.w.EndBatch(id, a2a.TaskStateCompleted, batch.State{Lines: 2500, Segs: 3})
	var out bytes.Buffer
	if err := o.Copy(t.Context(), &out); err != nil || out.String() != "one\ntwo\nthree\n" {
		t.Errorf("across the end: %q, %v", out.String(), err)
	}
	if text, o := read(); text != "one\ntwo\nthree\n" || !o.Complete || o.Lines != 2500 || o.Size != 14 || len(o.SHA256) != 64 {
		t.Errorf("at the end: %q, %+v", text, o)
	}

	found, err = b.Find(t.Context(), alice, id)
	if err != nil {
		t.Fatal(err)
	}
	if o, err := b.Errors(t.Context(), found); err != nil || !o.Complete || o.Size != 0 || o.Copy(t.Context(), &out) != nil {
		t.Errorf("no errors: %+v, %v", o, err)
	}
}
