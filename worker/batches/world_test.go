package batches_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"iter"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"errand/shared/adapters/local"
	"errand/shared/batch"
	"errand/shared/bus"
	"errand/shared/desk"
	"errand/shared/files"
	"errand/shared/lab/world"
	"errand/shared/queue"
	"errand/shared/task"
	"errand/shared/uploads"
	"errand/worker/batches"
	"errand/worker/turn"
)

// A bench is an agent that runs batches: a real store, a queue that delivers, a folder for
// files, and both workers. Its items are answered at once.
type bench struct {
	*world.World
	t       *testing.T
	desk    *desk.Desk
	files   *files.Store
	uploads *uploads.Store
	exec    *batches.Executor
	worker  *turn.Worker // of batches
	items   *turn.Worker
	handler *batches.Handler

	answer  func(ctx context.Context, ec *a2asrv.ExecutorContext) error // what items do before they end; nil: nothing
	started atomic.Int64                                                // items

	mu     sync.Mutex
	closes []func()
}

const owner = "me"

func newBench(t *testing.T, edit func(*batches.Config)) *bench {
	t.Helper()
	b := &bench{t: t}
	mux := http.NewServeMux()
	b.World = world.New(t, world.Config{Handler: mux})
	b.desk = b.Desk(b.Store)
	dir := filepath.Join(t.TempDir(), "files")
	b.files = files.New(func(context.Context) (files.Place, error) { return local.OpenFolder(local.FolderConfig{Dir: dir}) }, b.Now)
	t.Cleanup(func() { b.files.Close() })
	b.uploads = uploads.New(uploads.Config{Files: b.files, KV: b.Store.KV()})

	c := batches.Config{
		Desk: b.desk, Store: b.Store, KV: b.Store.KV(), Files: b.files, Manifests: batches.Sources{Uploads: b.uploads},
		Form: batch.Form{Input: []string{"text/plain"}}, Log: b.Log, Look: 10 * time.Millisecond, Save: 50 * time.Millisecond,
	}
	if edit != nil {
		edit(&c)
	}
	b.exec = batches.New(c)
	b.worker = turn.New(turn.Config{Desk: b.desk, Store: b.Store, KV: b.Store.KV(), Bus: b, Executor: b.exec, Log: b.Log})
	b.items = turn.New(turn.Config{Desk: b.desk, Store: b.Store, KV: b.Store.KV(), Bus: b, Executor: b, Log: b.Log})
	b.handler = b.exec.Handler(b.worker)
	mux.Handle("POST "+queue.PathBatch, b.handler)
	mux.Handle("POST "+queue.PathBulk, b.items)
	return b
}

// Publish implements bus.Publisher.
func (b *bench) Publish(context.Context, ...bus.Event) error { return nil }

// Execute implements a2asrv.AgentExecutor for items: the answer repeats the text.
func (b *bench) Execute(ctx context.Context, ec *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) {
		b.started.Add(1)
		if b.answer != nil {
			if err := b.answer(ctx, ec); err != nil {
				yield(nil, err)
				return
			}
		}
		ev := a2a.NewArtifactUpdateEvent(ec, "answer", a2a.NewTextPart("re: "+ec.Message.Parts[0].Text()))
		if yield(ev, nil) {
			yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateCompleted, nil), nil)
		}
	}
}

// Cancel implements a2asrv.AgentExecutor.
func (b *bench) Cancel(context.Context, *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	return func(func(a2a.Event, error) bool) {}
}

// manifest makes a manifest of n lines.
func manifest(n int) string {
	var s strings.Builder
	for i := range n {
		fmt.Fprintf(&s, `{"id": "line-%06d", "text": "prompt %d"}`+"\n", i+1, i+1)
	}
	return s.String()
}

// spec uploads a manifest, and makes the spec of a batch for it.
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

// await waits for a record that is as it should be.
func (b *bench) await(id string, is func(task.Record) bool) task.Record {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 5*time.Minute)
	defer cancel()
	for r := range task.Follow(ctx, b.Store, id, 0) {
		if is(r) {
			return r
		}
	}
	r, err := b.Store.Load(b.t.Context(), id)
	b.t.Fatalf("the batch did not become what was expected: %v %v", r, err)
	return task.Record{}
}

// settled waits until nothing is left to do for a batch.
func (b *bench) settled(id string) task.Record {
	b.t.Helper()
	return b.await(id, func(r task.Record) bool { return r.Settled })
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

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
