package batches_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
	"github.com/google/go-cmp/cmp"

	"errand/shared/adapters/local"
	"errand/shared/batch"
	"errand/shared/bus"
	"errand/shared/desk"
	"errand/shared/files"
	"errand/shared/kv"
	"errand/shared/lab/world"
	"errand/shared/queue"
	"errand/shared/task"
	"errand/shared/uploads"
	"errand/worker/batches"
	"errand/worker/run"
	"errand/worker/turn"
)

const owner = "me"

// A bench is an agent that runs batches: a real store, a queue that delivers, a folder for
// files, and two workers. Its items answer with what they were told, at once.
type bench struct {
	*world.World
	t       *testing.T
	desk    *desk.Desk
	files   *files.Store
	uploads *uploads.Store

	// answer is what an item does before it ends. nil: nothing.
	answer  func(ctx context.Context, ec *a2asrv.ExecutorContext) error
	started atomic.Int64 // items that an executor has run
	ran     tap          // the calls of items
	spends  task.Spent   // cost of an item

	current atomic.Pointer[process] // receives the jobs of batches
	config  func(*batches.Config)   // of every process
	turns   func(*turn.Config)      // the same

	mu  sync.Mutex
	now time.Time // zero: the clock runs
}

func newBench(t *testing.T, edit func(*batches.Config)) *bench {
	t.Helper()
	b := &bench{t: t, config: edit}
	mux := http.NewServeMux()
	lanes := map[string]local.Limits{
		queue.Batches: {Slots: 8, MinBackoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond},
		queue.Bulk:    {Slots: 32}, queue.Turns: {}, queue.Deliveries: {},
	}
	b.World = world.New(t, world.Config{Handler: mux, Now: b.clock, Lanes: lanes})
	b.desk = b.Desk(b.Store)

	dir := filepath.Join(t.TempDir(), "files")
	b.files = files.New(func(context.Context) (files.Place, error) { return local.OpenFolder(local.FolderConfig{Dir: dir}) }, b.Now)
	t.Cleanup(func() {
		if err := b.files.Close(); err != nil {
			t.Error(err)
		}
	})
	b.uploads = uploads.New(uploads.Config{Files: b.files, KV: b.Store.KV(), Now: b.Now})

	items := turn.New(turn.Config{Desk: b.desk, Store: tapStore{b.Store, &b.ran}, KV: b.Store.KV(), Bus: b, Executor: b, Log: b.Log})
	b.current.Store(b.process(nil))
	mux.Handle("POST "+queue.PathBulk, items)
	mux.HandleFunc("POST "+queue.PathBatch, func(w http.ResponseWriter, r *http.Request) { b.current.Load().deliver(w, r) })

	t.Cleanup(func() { // before the queue is closed
		items.Drain()
		b.current.Load().handler.Drain()
		b.World.Close()
	})
	return b
}

// A process runs batches. The queue gives a delivery up when its process is dead.
type process struct {
	handler *batches.Handler
	dead    chan struct{}
	idle    deliveries
}

// deliveries counts those that a process has begun and not ended. Unlike a sync.WaitGroup it may
// be waited for while another one begins.
type deliveries struct {
	mu    sync.Mutex
	n     int
	ended chan struct{} // closed when n is 0 again
}

func (d *deliveries) Go(f func()) {
	d.mu.Lock()
	if d.n == 0 {
		d.ended = make(chan struct{})
	}
	d.n++
	d.mu.Unlock()

	go func() {
		defer func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			if d.n--; d.n == 0 {
				close(d.ended)
			}
		}()
		f()
	}()
}

// Wait waits for the end of those that have begun.
func (d *deliveries) Wait() {
	d.mu.Lock()
	ended := d.ended
	d.mu.Unlock()
	if ended != nil {
		<-ended
	}
}

func (p *process) deliver(w http.ResponseWriter, r *http.Request) {
	answer := httptest.NewRecorder()
	done := make(chan struct{})
	p.idle.Go(func() {
		defer close(done)
		p.handler.ServeHTTP(answer, r)
	})
	select {
	case <-p.dead:
		w.WriteHeader(http.StatusServiceUnavailable)
	case <-done:
		w.WriteHeader(answer.Code)
	}
}

// process makes a process. All its calls of stores go through the tap.
func (b *bench) process(tap *tap) *process {
	store, values, place := tapStore{b.Store, tap}, tapKV{b.Store.KV(), tap}, tapFiles{b.files, tap}
	d := b.Desk(store)
	c := batches.Config{
		Desk: d, Store: store, KV: values, Files: place, Manifests: batches.Sources{Uploads: b.uploads}, Uploads: b.uploads,
		Form: batch.Form{Input: []string{"text/plain"}}, Model: "m", Log: b.Log, Look: time.Millisecond, Save: time.Millisecond,
	}
	if b.config != nil {
		b.config(&c)
	}
	exec := batches.New(c)
	turns := turn.Config{Desk: d, Store: store, KV: values, Bus: b, Executor: exec, Log: b.Log}
	if b.turns != nil {
		b.turns(&turns)
	}
	return &process{handler: exec.Handler(turn.New(turns)), dead: make(chan struct{})}
}

// clock is the present time. Without a time that a test has set, it runs.
func (b *bench) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now.IsZero() {
		return time.Now()
	}
	return b.now
}

// stop stops the clock at a time.
func (b *bench) stop(at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = at
}

// Publish implements bus.Publisher.
func (b *bench) Publish(context.Context, ...bus.Event) error { return nil }

// Execute implements a2asrv.AgentExecutor for items.
func (b *bench) Execute(ctx context.Context, ec *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) {
		b.started.Add(1)
		if r, ok := run.From(ctx); ok && b.spends != (task.Spent{}) {
			r.Spend(b.spends)
		}
		if b.answer != nil {
			if err := b.answer(ctx, ec); err != nil {
				yield(nil, err)
				return
			}
		}
		if yield(a2a.NewArtifactUpdateEvent(ec, "answer", a2a.NewTextPart("re: "+told(ec))), nil) {
			yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateCompleted, nil), nil)
		}
	}
}

// told is the text of an item.
func told(ec *a2asrv.ExecutorContext) string { return ec.Message.Parts[0].Text() }

// Cancel implements a2asrv.AgentExecutor.
func (b *bench) Cancel(context.Context, *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	return func(func(a2a.Event, error) bool) {}
}

// manifest makes a manifest of n lines.
func manifest(n int) string {
	var s strings.Builder
	for i := range n {
		fmt.Fprintf(&s, `{"id": "L%d", "text": "prompt %d"}`+"\n", i+1, i+1)
	}
	return s.String()
}

// spec uploads a manifest and makes the spec of a batch for it.
func (b *bench) spec(name, text string) batch.Spec {
	b.t.Helper()
	f, err := b.uploads.Create(b.t.Context(), owner, uploads.Upload{Name: name, Purpose: uploads.Batch}, strings.NewReader(text))
	if err != nil {
		b.t.Fatal(err)
	}
	now := b.Now().UTC().Truncate(time.Millisecond)
	return batch.Spec{Name: name, At: now, Deadline: now.Add(batch.Deadline), Input: batch.Input{File: f.ID, SHA256: f.SHA256, Size: f.Size}}
}

// submit makes a batch.
func (b *bench) submit(s batch.Spec) string {
	b.t.Helper()
	r, _, err := b.desk.Batch(b.t.Context(), owner, s)
	if err != nil {
		b.t.Fatal(err)
	}
	return r.ID()
}

// await waits for a record that is as it should be, and may not be made yet.
func (b *bench) await(id string, is func(task.Record) bool) task.Record {
	b.t.Helper()
	for {
		for r := range task.Follow(b.t.Context(), b.Store, id, 0) {
			if is(r) {
				return r
			}
		}
		r, err := b.Store.Load(b.t.Context(), id)
		if err != nil && !errors.Is(err, task.ErrNotFound) || errors.Is(err, task.ErrDeleted) {
			b.t.Fatalf("the task %s did not become what was expected: it is %v: %v", id, r.Task, err)
		}
		b.pause()
	}
}

// pause waits a moment for what has no watch.
func (b *bench) pause() {
	b.t.Helper()
	select {
	case <-b.t.Context().Done():
		b.t.Fatal("what was expected did not happen")
	case <-time.After(time.Millisecond):
	}
}

// settled waits until a batch has ended and nothing is left to do.
func (b *bench) settled(id string) task.Record {
	b.t.Helper()
	return b.await(id, func(r task.Record) bool { return r.Settled })
}

// state reads the progress of a batch.
func (b *bench) state(id string) batch.State {
	b.t.Helper()
	e, err := b.Store.KV().Get(b.t.Context(), batch.StateKey(id))
	if err != nil {
		b.t.Fatal(err)
	}
	return decode[batch.State](b.t, e.Value)
}

// awaitState waits for a progress that is as it should be.
func (b *bench) awaitState(id string, is func(batch.State) bool) batch.State {
	b.t.Helper()
	for {
		e, err := b.Store.KV().Get(b.t.Context(), batch.StateKey(id))
		if err == nil {
			if s := decode[batch.State](b.t, e.Value); is(s) {
				return s
			}
		}
		b.pause()
	}
}

// read returns the content of a file.
func (b *bench) read(name string) string {
	b.t.Helper()
	_, in, err := b.files.Get(b.t.Context(), name)
	if err != nil {
		b.t.Fatal(err)
	}
	defer in.Close()
	text, err := io.ReadAll(in)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}

// A result is a line of results or errors.
type result struct {
	ID    string
	Line  int
	Text  string
	State string
	Error *batch.Fault
}

// results reads a file of results or errors.
func (b *bench) results(name string) (all []result) {
	b.t.Helper()
	for line := range strings.Lines(b.read(name)) {
		all = append(all, decode[result](b.t, []byte(line)))
	}
	return all
}

// wantLines checks that each line of a batch is in one of its files, once and in order, and that
// the given ones are in its errors. It returns the errors by line.
func (b *bench) wantLines(id string, lines int, failed ...int) map[int]result {
	b.t.Helper()
	var answered, other []int
	faults := map[int]result{}
	for _, r := range b.results(batch.ResultsFile(id)) {
		answered = append(answered, r.Line)
		if want := fmt.Sprintf("re: prompt %d", r.Line); r.Text != want || r.ID != fmt.Sprintf("L%d", r.Line) {
			b.t.Errorf("the answer to line %d is %+v", r.Line, r)
		}
	}
	for _, r := range b.results(batch.ErrorsFile(id)) {
		other = append(other, r.Line)
		faults[r.Line] = r
	}

	var want []int
	for n := 1; n <= lines; n++ {
		if !slices.Contains(failed, n) {
			want = append(want, n)
		}
	}
	if diff := cmp.Diff(want, answered); diff != "" {
		b.t.Errorf("lines with an answer (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(failed, other); diff != "" {
		b.t.Errorf("lines with an error (-want +got):\n%s\n%.2000s", diff, b.read(batch.ErrorsFile(id)))
	}
	return faults
}

// wantState checks how a batch has ended, and returns what it says.
func (b *bench) wantEnd(r task.Record, state a2a.TaskState) string {
	b.t.Helper()
	text := ""
	if m := r.Task.Status.Message; m != nil {
		text = m.Parts[0].Text()
	}
	if r.State() != state {
		b.t.Errorf("the batch is %s (%s), want %s", r.State(), text, state)
	}
	if state.Terminal() && (strings.Contains(text, " left") || strings.Contains(text, " a second")) {
		b.t.Errorf("a batch that has ended says %q", text)
	}
	return text
}

// job adds a job for a batch, as a sweep does.
func (b *bench) job(id string) {
	b.t.Helper()
	if err := b.Jobs.Add(b.t.Context(), queue.Job{Queue: queue.Batches, Path: queue.PathBatch, Task: id, Owner: owner}); err != nil {
		b.t.Fatal(err)
	}
}

// A tap is what a process does to its stores: each call passes it before and after.
type tap struct {
	before, after func(call) error
	loaded        func(task.Record) task.Record // what a Load returns instead
	stubborn      bool                          // calls go through although their run is over
}

// A call is a call of a store.
type call struct {
	method string // such as Create, KV.Put, Files.Put
	on     string // id, key or name
}

func (p *tap) pass(ctx context.Context, method, on string, do func(context.Context) error) error {
	if p == nil {
		return do(ctx)
	}
	c := call{method, on}
	if p.before != nil {
		if err := p.before(c); err != nil {
			return err
		}
	}
	if p.stubborn {
		ctx = context.WithoutCancel(ctx)
	}
	err := do(ctx)
	if err == nil && p.after != nil {
		err = p.after(c)
	}
	return err
}

type tapStore struct {
	batches.Store
	tap *tap
}

func (s tapStore) Create(ctx context.Context, r task.Record) (out task.Record, err error) {
	err = s.tap.pass(ctx, "Create", r.ID(), func(ctx context.Context) (err error) {
		out, err = s.Store.Create(ctx, r)
		return err
	})
	return out, err
}

func (s tapStore) Load(ctx context.Context, id string) (out task.Record, err error) {
	err = s.tap.pass(ctx, "Load", id, func(ctx context.Context) (err error) {
		out, err = s.Store.Load(ctx, id)
		return err
	})
	if err == nil && s.tap != nil && s.tap.loaded != nil {
		out = s.tap.loaded(out)
	}
	return out, err
}

func (s tapStore) Commit(ctx context.Context, r task.Record) (out task.Record, err error) {
	err = s.tap.pass(ctx, "Commit", r.ID(), func(ctx context.Context) (err error) {
		out, err = s.Store.Commit(ctx, r)
		return err
	})
	return out, err
}

func (s tapStore) Open(ctx context.Context, id string, upTo int) (out task.Open, err error) {
	err = s.tap.pass(ctx, "Open", id, func(ctx context.Context) (err error) {
		out, err = s.Store.Open(ctx, id, upTo)
		return err
	})
	return out, err
}

func (s tapStore) OpenLines(ctx context.Context, id string, after, limit int) (out []int, err error) {
	err = s.tap.pass(ctx, "OpenLines", id, func(ctx context.Context) (err error) {
		out, err = s.Store.OpenLines(ctx, id, after, limit)
		return err
	})
	return out, err
}

type tapKV struct {
	kv.Store
	tap *tap
}

func (s tapKV) Get(ctx context.Context, key string) (out kv.Entry, err error) {
	err = s.tap.pass(ctx, "KV.Get", key, func(ctx context.Context) (err error) {
		out, err = s.Store.Get(ctx, key)
		return err
	})
	return out, err
}

func (s tapKV) Put(ctx context.Context, e kv.Entry) (out kv.Entry, err error) {
	err = s.tap.pass(ctx, "KV.Put", e.Key, func(ctx context.Context) (err error) {
		out, err = s.Store.Put(ctx, e)
		return err
	})
	return out, err
}

func (s tapKV) Delete(ctx context.Context, key string, version int64) error {
	return s.tap.pass(ctx, "KV.Delete", key, func(ctx context.Context) error { return s.Store.Delete(ctx, key, version) })
}

type tapFiles struct {
	batches.Files
	tap *tap
}

func (s tapFiles) Put(ctx context.Context, u files.Upload, content io.Reader) (out files.Info, err error) {
	err = s.tap.pass(ctx, "Files.Put", u.Name, func(ctx context.Context) (err error) {
		out, err = s.Files.Put(ctx, u, content)
		return err
	})
	return out, err
}

func (s tapFiles) Get(ctx context.Context, name string) (info files.Info, in io.ReadCloser, err error) {
	err = s.tap.pass(ctx, "Files.Get", name, func(ctx context.Context) (err error) {
		info, in, err = s.Files.Get(ctx, name)
		return err
	})
	if err != nil && in != nil { // the answer was lost
		_, in = in.Close(), nil
	}
	return info, in, err
}

func (s tapFiles) DeleteAll(ctx context.Context, folder string) error {
	return s.tap.pass(ctx, "Files.DeleteAll", folder, func(ctx context.Context) error { return s.Files.DeleteAll(ctx, folder) })
}
