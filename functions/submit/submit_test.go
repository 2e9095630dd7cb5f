package submit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"errand/functions/submit"
	"errand/shared/adapters/local"
	"errand/shared/agent"
	"errand/shared/auth"
	"errand/shared/batch"
	"errand/shared/batchdesk"
	"errand/shared/bus"
	"errand/shared/desk"
	"errand/shared/files"
	"errand/shared/lab/world"
	"errand/shared/limits"
	"errand/shared/objects"
	"errand/shared/task"
	"errand/shared/uploads"
)

// Subscriptions, and the principals whose tasks their messages are.
const (
	ofNightly = "projects/p/subscriptions/errand-submit-nightly"
	ofOther   = "projects/p/subscriptions/errand-submit-other"
	nightly   = "acme/nightly"
	other     = "other/team"
)

// accessFile gives nightly two objects.
const accessFile = `
principals:
  - {name: acme/nightly, buckets: [gs://acme-in/]%s}
  - {name: other/team}
submit:
  - {subscription: projects/p/subscriptions/errand-submit-nightly, principal: acme/nightly}
  - {subscription: projects/p/subscriptions/errand-submit-other, principal: other/team}
`

// definition is the agent's.
const definition = `
name: Translator
description: Translates.
version: "1"
model: gemini-3.6-flash
instructions: Translate.
inputModes: [text/plain]
outputModes: [text/plain]
skills: [{id: de, name: German, description: To German, tags: [german]}]
prices: {currency: USD, input: "1", output: "2"}
`

// A bench is the door, with a real store, desks and access file, and a topic that keeps its
// messages.
type bench struct {
	*testing.T
	w       *world.World
	door    *submit.Submit
	config  submit.Config
	refused letters
	log     *bytes.Buffer
	uploads *uploads.Store
	objects map[string]objects.Object
	pushed  atomic.Int64
	now     time.Time // by which limits go
}

// newBench makes the door. own is added to the entry of nightly in the access file.
func newBench(t *testing.T, own string, edits ...func(*bench)) *bench {
	t.Helper()
	b := &bench{T: t, w: world.New(t, world.Config{}), log: &bytes.Buffer{}, objects: map[string]objects.Object{}, now: time.Now()}
	access := filepath.Join(t.TempDir(), "access.yaml")
	if err := os.WriteFile(access, fmt.Appendf(nil, accessFile, own), 0o600); err != nil {
		t.Fatal(err)
	}
	callers, err := auth.Load(access, auth.Options{Now: func() time.Time { return b.now }})
	if err != nil {
		t.Fatal(err)
	}
	of, err := agent.Load("", []byte(definition))
	if err != nil {
		t.Fatal(err)
	}

	dir := filepath.Join(t.TempDir(), "files")
	stored := files.New(func(context.Context) (files.Place, error) { return local.OpenFolder(local.FolderConfig{Dir: dir}) }, time.Now)
	t.Cleanup(func() { _ = stored.Close() })
	b.uploads = uploads.New(uploads.Config{Files: stored, KV: b.w.Store.KV()})
	held := limits.New(limits.Config{Of: callers.Limits, Holder: b.w.Store, Now: func() time.Time { return b.now }})
	d := desk.New(desk.Config{Store: b.w.Store, Queue: b.w.Jobs, Rules: b.w.Rules, Now: time.Now, Log: b.w.Log, Room: held.Admit})
	read := objects.Guarded{Source: b, May: callers.MayRead}
	b.config = submit.Config{
		Desk: d, Access: callers, Form: batch.NewForm(of, of.Model), Refused: &b.refused, Log: slog.New(slog.NewTextHandler(b.log, nil)),
		Batches: batchdesk.New(batchdesk.Config{
			Desk: d, Store: b.w.Store, KV: b.w.Store.KV(), Files: stored, Uploads: b.uploads, Object: batchdesk.ObjectsOf(read), Objects: read, Currency: "USD", Log: b.w.Log,
		}),
	}
	for _, edit := range edits {
		edit(b)
	}
	b.door = submit.New(b.config)
	return b
}

// Stat implements the part of objects.Source that submissions need.
func (b *bench) Stat(_ context.Context, url string) (objects.Object, error) {
	o, ok := b.objects[url]
	if !ok {
		return o, objects.ErrNotFound
	}
	return o, nil
}

// Open implements objects.Source.
func (b *bench) Open(context.Context, string, int64, int64) (io.ReadCloser, error) {
	return nil, errors.New("a submission reads no object")
}

// letters is a topic that keeps its messages, or answers with an error.
type letters struct {
	mu   sync.Mutex
	all  []bus.Letter
	fail error
}

func (l *letters) Send(_ context.Context, letter bus.Letter) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return l.fail
	}
	l.all = append(l.all, letter)
	return nil
}

// take returns the messages since the last take.
func (l *letters) take() []bus.Letter {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.all
	l.all = nil
	return all
}

// published is when all messages were published: an hour before they are delivered.
var published = time.Now().UTC().Truncate(time.Second).Add(-time.Hour)

// push delivers a letter as Pub/Sub does, and returns the status of the answer.
func (b *bench) push(l bus.Letter) int {
	b.Helper()
	return b.deliver(l).Code
}

// pushWith is push by a caller with a context.
func (b *bench) pushWith(ctx context.Context, l bus.Letter) int {
	b.Helper()
	return b.deliverWith(ctx, l).Code
}

// deliver is push with the whole answer.
func (b *bench) deliver(l bus.Letter) *httptest.ResponseRecorder {
	b.Helper()
	return b.deliverWith(b.Context(), l)
}

func (b *bench) deliverWith(ctx context.Context, l bus.Letter) *httptest.ResponseRecorder {
	b.Helper()
	if l.Subscription == "" {
		l.Subscription = ofNightly
	}
	if l.ID == "" {
		l.ID = fmt.Sprint("2070443601311", b.pushed.Add(1))
	}
	body, err := json.Marshal(map[string]any{
		"message":      map[string]any{"data": l.Data, "attributes": l.Attributes, "messageId": l.ID, "message_id": l.ID, "publishTime": published, "publish_time": published},
		"subscription": l.Subscription, "deliveryAttempt": 1,
	})
	if err != nil {
		b.Fatal(err)
	}
	w := httptest.NewRecorder()
	b.door.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodPost, bus.PathSubmit, bytes.NewReader(body)))
	return w
}

// post posts a body as it is, and returns the status of the answer.
func (b *bench) post(body string) int {
	w := httptest.NewRecorder()
	b.door.ServeHTTP(w, httptest.NewRequestWithContext(b.Context(), http.MethodPost, bus.PathSubmit, strings.NewReader(body)))
	return w.Code
}

// line pushes a text of nightly, and wants it to be acknowledged without a refusal.
func (b *bench) line(text string) {
	b.Helper()
	if code := b.push(bus.Letter{Data: []byte(text)}); code != http.StatusNoContent {
		b.Errorf("%.80s is answered %d", text, code)
	}
	for _, l := range b.refused.take() {
		b.Errorf("%.80s is refused: %s", text, l.Attributes[submit.Reason])
	}
}

// tasks are the records of an owner, in any order.
func (b *bench) tasks(owner string) (all []task.Record) {
	b.Helper()
	for q := (task.Query{Owner: owner, Limit: 100, Bodies: true}); ; {
		page, err := b.w.Store.List(b.Context(), q)
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, page.Records...)
		if !page.More {
			return all
		}
		last := page.Records[len(page.Records)-1]
		q.After = task.Ref{ID: last.ID(), At: last.Stamp()}
	}
}

// texts are the texts of the messages that made an owner's tasks, sorted.
func (b *bench) texts(owner string) (all []string) {
	b.Helper()
	for _, r := range b.tasks(owner) {
		var text []string
		for _, p := range r.Task.History[0].Parts {
			text = append(text, p.Text())
		}
		all = append(all, strings.Join(text, " "))
	}
	slices.Sort(all)
	return all
}

func (b *bench) has(owner string, want ...string) {
	b.Helper()
	if got := b.texts(owner); !slices.Equal(got, want) {
		b.Errorf("%s has the tasks %q, want %q", owner, got, want)
	}
}
