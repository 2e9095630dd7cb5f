package turn_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
	"github.com/google/go-cmp/cmp"

	"errand/shared/adapters/local"
	"errand/shared/files"
	"errand/shared/memory"
	"errand/shared/objects"
	"errand/shared/task"
	"errand/shared/uploads"
	"errand/worker/run"
	"errand/worker/turn"
)

// A shelf is a bench whose worker reads files of a real folder. Its executor keeps what it was
// given.
type shelf struct {
	*bench
	uploads *uploads.Store

	mu  sync.Mutex
	saw []string // the parts of the conversation, newest message first
}

func newShelf(t *testing.T, edit func(*turn.Config)) *shelf {
	s := &shelf{}
	ex := execute(func(_ context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		s.mu.Lock()
		s.saw = nil
		for _, task := range append(ec.RelatedTasks, ec.StoredTask) {
			for _, m := range task.History {
				for _, p := range m.Parts {
					s.saw = append([]string{show(p)}, s.saw...)
				}
			}
		}
		s.mu.Unlock()
		yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateCompleted, nil), nil)
	})

	s.bench = newBench(t, ex)
	store := files.New(func(context.Context) (files.Place, error) {
		return local.OpenFolder(local.FolderConfig{Dir: filepath.Join(t.TempDir(), "files")})
	}, s.Now)
	t.Cleanup(func() { _ = store.Close() })
	s.uploads = uploads.New(uploads.Config{Files: store, KV: s.Store.KV(), Now: s.Now})
	s.configure(ex, func(c *turn.Config) {
		c.Files = s.uploads
		edit(c)
	})
	return s
}

// show is a part in short.
func show(p *a2a.Part) string {
	fault, file := run.FileOf(p)
	switch c := p.Content.(type) {
	case a2a.Raw:
		return fmt.Sprintf("%v %s %s %d", file, p.MediaType, p.Filename, len(c))
	case a2a.Text:
		return string(c)
	case a2a.URL:
		if !file {
			return string(c)
		}
		if _, own := task.FileIn(p); !own && c != "" {
			return "the URL " + string(c)
		}
	}
	return fmt.Sprintf("%v %s", file, fault)
}

// create uploads a file of so many bytes.
func (s *shelf) create(owner, name string, size int) string {
	s.t.Helper()
	f, err := s.uploads.Create(s.t.Context(), owner, uploads.Upload{Name: name, MediaType: "image/png"}, io.LimitReader(zeros{}, int64(size)))
	if err != nil {
		s.t.Fatal(err)
	}
	return f.ID
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// byURL is a part that names a file as the front door notes it.
func byURL(id string) *a2a.Part {
	p := a2a.NewFileURLPart(a2a.URL("https://agent.example/files/"+id+"/content"), "")
	task.NameFile(p, id)
	return p
}

func byID(id string) *a2a.Part { return a2a.NewDataPart(map[string]any{"file": id}) }

// ask sends a message with these parts and runs its turn.
func (s *shelf) ask(id, contextID string, parts ...*a2a.Part) []string {
	s.t.Helper()
	r := s.accept(&a2a.Message{ID: id, ContextID: contextID, Role: a2a.MessageRoleUser, Parts: parts})
	if code := s.deliver(r.ID(), id, 0); code != http.StatusNoContent {
		s.t.Fatalf("%s was answered %d", id, code)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.saw)
}

// An executor gets the contents of the files that messages name, with their types and names,
// and the reason where there is none. It gets no file of another owner.
func TestExecutorGetsFiles(t *testing.T) {
	s := newShelf(t, func(*turn.Config) {})
	small, named := s.create("me", "a.png", 10), s.create("me", "", 20)
	large := s.create("me", "large", turn.MaxFile+1)
	foreign, deleted := s.create("another", "b.png", 30), s.create("me", "c.png", 40)
	if err := s.uploads.Delete(t.Context(), "me", deleted); err != nil {
		t.Fatal(err)
	}

	typed := byURL(named)
	typed.MediaType, typed.Filename = "image/jpeg", "d.jpg"
	got := s.ask("m1", "", byURL(small), byID(small), typed, byURL(large), byURL(foreign), byID(deleted), a2a.NewDataPart(map[string]any{"file": "a.png"}), a2a.NewTextPart("look"))
	slices.Reverse(got)
	gone := func(id string) string {
		return "true The file " + id + " is gone: it was deleted. Upload it again, and send another message."
	}
	want := []string{
		"true image/png a.png 10", "true image/png a.png 10", "true image/jpeg d.jpg 20",
		fmt.Sprintf("true The file %s has 7000001 bytes, and the agent reads files of 7000000 at most. Send a smaller one, or a part of it.", large),
		gone(foreign), gone(deleted), "false ", "look",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the executor got (-want +got):\n%s", diff)
	}

	if stored := s.Load(s.taskOf("m1")).Task.History[0].Parts[0]; len(stored.Raw()) != 0 || len(stored.Metadata) != 1 {
		t.Errorf("the record has %v %v", stored.Content, stored.Metadata)
	}
}

func (s *shelf) taskOf(messageID string) string {
	id, _ := task.Derive("me", messageID)
	return id
}

// A conversation has the newest files as far as they fit. The files of the message come first.
func TestNewestFilesFirst(t *testing.T) {
	s := newShelf(t, func(*turn.Config) {})
	sizes := map[string]int{"a": 7_000_000, "b": 6_000_000, "c": 5_000_000}
	ids := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(sizes)) {
		ids[name] = s.create("me", name, sizes[name])
	}

	s.ask("m1", "c1", byURL(ids["a"]))
	s.advance(time.Second)
	s.ask("m2", "c1", byURL(ids["b"]), byURL(ids["b"]))
	s.advance(time.Second)
	got := s.ask("m3", "c1", byURL(ids["c"]))
	for i, line := range got {
		if strings.Contains(line, "at once") {
			got[i] = "no room"
		}
	}
	want := []string{"true image/png c 5000000", "no room", "true image/png b 6000000", "no room"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the executor got (-want +got):\n%s", diff)
	}
}

// The memory for files is taken before they are read.
func TestFilesShareTheMemory(t *testing.T) {
	pool := memory.Sized(20_000_000)
	s := newShelf(t, func(c *turn.Config) { c.Memory = pool })
	id := s.create("me", "a", 5_000_000)
	others := pool.Charge("")
	if err := others.Take(1_000_000); err != nil {
		t.Fatal(err)
	}

	r := s.accept(&a2a.Message{ID: "m1", Role: a2a.MessageRoleUser, Parts: a2a.ContentParts{byURL(id)}})
	done := make(chan int)
	go func() { done <- s.deliver(r.ID(), "job", 0) }()
	s.awaitState(r.ID(), a2a.TaskStateWorking)
	select {
	case code := <-done:
		t.Errorf("the turn ended with %d while there was no memory for its file", code)
	default:
	}
	others.Settle()
	if code := <-done; code != http.StatusNoContent || len(s.saw) != 1 || s.saw[0] != "true image/png a 5000000" {
		t.Errorf("answered %d, and got %q", code, s.saw)
	}
}

// A failing source of files is not reached.
type failing struct {
	turn.Files
	find, open bool
}

var errFiles = errors.New("not reached")

func (f *failing) Find(ctx context.Context, owner, id string) (uploads.File, error) {
	if f.find {
		return uploads.File{}, errFiles
	}
	return f.Files.Find(ctx, owner, id)
}

func (f *failing) Open(ctx context.Context, owner, id string, offset, length int64) (uploads.File, io.ReadCloser, error) {
	if f.open {
		return uploads.File{}, nil, errFiles
	}
	return f.Files.Open(ctx, owner, id, offset, length)
}

// While files cannot be reached, a turn comes again. It does not take them for gone.
func TestFilesOutOfReach(t *testing.T) {
	f := &failing{}
	s := newShelf(t, func(c *turn.Config) {
		f.Files = c.Files
		c.Files = f
	})
	id := s.create("me", "a", 10)
	for _, find := range []bool{true, false} {
		f.find, f.open = find, !find
		r := s.accept(&a2a.Message{ID: fmt.Sprint(find), Role: a2a.MessageRoleUser, Parts: a2a.ContentParts{byURL(id)}})
		s.deliver(r.ID(), "job", 0)
		if now := s.Load(r.ID()); now.Terminal() || len(s.saw) != 0 {
			t.Errorf("the task is %s, and its executor got %q", now.State(), s.saw)
		}

		f.find, f.open = false, false
		s.deliver(r.ID(), "job", 1)
		if now := s.Load(r.ID()); now.State() != a2a.TaskStateCompleted || len(s.saw) != 1 || s.saw[0] != "true image/png a 10" {
			t.Errorf("the task is %s, and its executor got %q", now.State(), s.saw)
		}
		s.saw = nil
	}
}

// An executor is told that an object may not be passed on, although the message that names it was
// accepted: its sender has lost the right since. So it is with the earlier messages of the
// conversation.
func TestRightToAnObjectIsLost(t *testing.T) {
	lost := false
	s := newShelf(t, func(c *turn.Config) {
		c.Objects = objects.Guarded{May: func(owner, url string) bool { return owner == "me" && !lost }}
	})
	object := a2a.NewFileURLPart("gs://acme-in/a.pdf", "application/pdf")
	web := a2a.NewFileURLPart("https://example.com/a.pdf", "application/pdf")
	if diff := cmp.Diff([]string{string(web.URL()), string(object.URL())}, s.ask("m1", "c", object, web)); diff != "" {
		t.Errorf("with the right the executor got (-want +got):\n%s", diff)
	}

	lost = true
	s.advance(time.Second)
	got := s.ask("m2", "c", object, web)
	for i, line := range got {
		if strings.HasPrefix(line, "true The message names an object that you may not have read: ") {
			got[i] = "lost"
		}
	}
	if diff := cmp.Diff([]string{string(web.URL()), "lost", string(web.URL()), "lost"}, got); diff != "" {
		t.Errorf("without the right the executor got (-want +got):\n%s", diff)
	}
	if stored := s.Load(s.taskOf("m2")).Task.History[0].Parts[0]; len(stored.Metadata) != 0 {
		t.Errorf("the record has %v", stored.Metadata)
	}
}
