package front_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"errand/cardserver/front"
	"errand/shared/adapters/local"
	"errand/shared/files"
	"errand/shared/kv"
	"errand/shared/task"
	"errand/shared/uploads"
)

// A shelf keeps the files of a world.
type shelf struct {
	*uploads.Store
	kv *brokenKV
}

// A brokenKV fails to write while it is broken.
type brokenKV struct {
	kv.Store
	broken bool
}

func (b *brokenKV) Put(ctx context.Context, e kv.Entry) (kv.Entry, error) {
	if b.broken {
		return kv.Entry{}, errors.New("not reached")
	}
	return b.Store.Put(ctx, e)
}

// withFiles gives a world files.
func withFiles(t *testing.T, s *shelf) func(*front.Config) {
	return func(c *front.Config) {
		dir := filepath.Join(t.TempDir(), "files")
		store := files.New(func(context.Context) (files.Place, error) { return local.OpenFolder(local.FolderConfig{Dir: dir}) }, time.Now)
		t.Cleanup(func() { _ = store.Close() })
		s.kv = &brokenKV{Store: c.KV}
		s.Store = uploads.New(uploads.Config{Files: store, KV: s.kv})
		c.Uploads = s.Store
		c.URL = "https://agent.example"
	}
}

func (s *shelf) create(t *testing.T, owner, mediaType string) string {
	t.Helper()
	f, err := s.Create(t.Context(), owner, uploads.Upload{MediaType: mediaType}, strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	return f.ID
}

// kept lists the tasks that name a file.
func (s *shelf) kept(t *testing.T) (tasks []string) {
	t.Helper()
	list, err := s.kv.List(t.Context(), "taskfile/", "", 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		tasks = append(tasks, strings.Split(e.Key, "/")[1])
	}
	return tasks
}

func urlPart(address, id string) string {
	return fmt.Sprintf(`{"url":"%s/files/%s/content"}`, address, id)
}

func fileMessage(id string, parts ...string) string {
	return sending(message(id, `"parts":[`+strings.Join(parts, ",")+`]`))
}

// A message names a file by its URL at this agent, by its id, or by a note, and the file is kept
// for its task. A URL elsewhere is a URL.
func TestMessageNamesFiles(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		s := &shelf{}
		w := b.world(t, reads("*/*"), withFiles(t, s))
		for i, part := range []func(id string) string{
			func(id string) string { return urlPart("https://agent.example", id) },
			func(id string) string { return urlPart("http://"+host, id) },
			func(id string) string { return `{"url":"https://AGENT.example/files/` + id + `"}` },
			func(id string) string { return `{"data":{"file":"` + id + `"}}` },
			func(id string) string { return `{"url":"https://x.example/","metadata":{"file":"` + id + `"}}` },
		} {
			id := s.create(t, anonymous, "text/plain")
			said := fmt.Sprint("m", i)
			want, _ := task.Derive(anonymous, said)
			for range 2 {
				if got := w.call(t, send, fileMessage(said, part(id), part(id))).task().ID; got != want {
					t.Fatalf("%s: the task %q, want %q", part(id), got, want)
				}
			}

			if got := s.kept(t); len(got) != 1 || got[0] != want {
				t.Errorf("%s: kept for %q, want %s", part(id), got, want)
			}
			if got, ok := task.FileIn(w.Load(want).Task.History[0].Parts[1]); !ok || got != id {
				t.Errorf("%s: the stored part names %q", part(id), got)
			}
			if err := s.Release(t.Context(), want); err != nil {
				t.Fatal(err)
			}
		}

		id := s.create(t, "another", "text/plain")
		for i, part := range []string{
			urlPart("https://other.example", id), `{"url":"https://agent.example/files/` + id + `/content?x=1"}`, `{"data":{"file":"a.png"}}`,
			`{"data":{"file":"` + id + `","page":1}}`, `{"text":"https://agent.example/files/` + id + `/content"}`,
		} {
			w.call(t, send, fileMessage(fmt.Sprint("other", i), part)).task()
		}
		if got := s.kept(t); len(got) != 0 {
			t.Errorf("kept for %q", got)
		}
	})
}

// A file of another owner is refused as one that is not there. Nothing is accepted.
func TestForeignFile(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		s := &shelf{}
		w := b.world(t, withFiles(t, s))
		foreign, own := s.create(t, "another", "text/plain"), s.create(t, anonymous, "text/plain")
		const none = "file-aaaaaaaaaaaaaaaaaaaaaaaaaa"
		var said []string
		for i, id := range []string{foreign, none} {
			got := w.refused(t, send, fileMessage(fmt.Sprint("m", i), urlPart("https://agent.example", own), urlPart("https://agent.example", id)), -32602, "message.parts[1]")
			said = append(said, fmt.Sprint(got.detail("type.googleapis.com/google.rpc.BadRequest")))
		}
		if said[0] != said[1] || !strings.Contains(said[0], "POST /files") {
			t.Errorf("a foreign file is refused with %s, one that is not there with %s", said[0], said[1])
		}
	})
}

// What an agent reads decides about the type of a file, as it does about that of a part.
func TestTypeOfAFile(t *testing.T) {
	s := &shelf{}
	w := newWorld(t, reads("text/plain"), withFiles(t, s))
	text, image := s.create(t, anonymous, "text/plain"), s.create(t, anonymous, "image/png")
	for i, part := range []string{urlPart("https://agent.example", text), `{"data":{"file":"` + text + `"}}`} {
		w.call(t, send, fileMessage(fmt.Sprint("m", i), part)).task()
	}
	for _, part := range []string{urlPart("https://agent.example", image), `{"data":{"file":"` + image + `"}}`} {
		w.refused(t, send, fileMessage("image", part), -32005, "")
	}
}

// A message that was accepted before finds its task, though its file is gone. A message to the
// task keeps its own file.
func TestMessageWhoseFileIsGone(t *testing.T) {
	s := &shelf{}
	w := newWorld(t, withFiles(t, s))
	id := s.create(t, anonymous, "text/plain")
	first := w.call(t, send, fileMessage("m1", urlPart("https://agent.example", id))).task().ID
	if err := s.Delete(t.Context(), anonymous, id); err != nil {
		t.Fatal(err)
	}
	if again := w.call(t, send, fileMessage("m1", urlPart("https://agent.example", id))).task().ID; again != first {
		t.Errorf("the repeated message has the task %q, want %q", again, first)
	}

	next := s.create(t, anonymous, "text/plain")
	follow := func(file, id string) string {
		return sending(message(id, `"taskId":"`+first+`","parts":[`+urlPart("https://agent.example", file)+`]`))
	}
	if got := w.call(t, send, follow(next, "m2")).task().ID; got != first {
		t.Errorf("the follow-up has the task %q", got)
	}
	if got := s.kept(t); len(got) != 1 || got[0] != first {
		t.Errorf("kept for %q", got)
	}
	w.refused(t, send, follow(id, "m3"), -32602, "message.parts[0]")
}

// A message is not accepted while its file cannot be kept, and is accepted when it is repeated.
func TestFileThatCannotBeKept(t *testing.T) {
	s := &shelf{}
	w := newWorld(t, withFiles(t, s))
	id := s.create(t, anonymous, "text/plain")
	s.kv.broken = true
	if r := w.call(t, send, fileMessage("m1", urlPart("https://agent.example", id))); r.Error == nil {
		t.Error("the message is accepted")
	}
	taskID, _ := task.Derive(anonymous, "m1")
	if _, err := w.Store.Load(t.Context(), taskID); !errors.Is(err, task.ErrNotFound) {
		t.Errorf("Load: %v", err)
	}
	s.kv.broken = false
	if got := w.call(t, send, fileMessage("m1", urlPart("https://agent.example", id))).task().ID; got != taskID {
		t.Errorf("the repeated message has the task %q", got)
	}
}

// The number of files of a message is limited.
func TestManyFiles(t *testing.T) {
	s := &shelf{}
	w := newWorld(t, withFiles(t, s))
	id := s.create(t, anonymous, "text/plain")
	parts := make([]string, 21)
	for i := range parts {
		parts[i] = urlPart("https://agent.example", id)
	}
	w.refused(t, send, fileMessage("m1", parts...), -32602, "message.parts")
	w.call(t, send, fileMessage("m2", parts[:20]...)).task()
	both, err := json.Marshal(map[string]any{"url": "https://agent.example/files/" + id, "metadata": map[string]any{"file": "file-aaaaaaaaaaaaaaaaaaaaaaaaaa"}})
	if err != nil {
		t.Fatal(err)
	}
	w.refused(t, send, fileMessage("m3", string(both)), -32602, "message.parts[0]")
}
