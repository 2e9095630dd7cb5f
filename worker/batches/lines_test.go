package batches_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"

	"errand/shared/batch"
	"errand/shared/kv"
	"errand/shared/objects"
	"errand/shared/task"
	"errand/shared/uploads"
	"errand/worker/batches"
)

const twoBad = `{"id": "L1", "text": "prompt 1"}
{"id": "L2", "text": 2}
{"id": "L3", "text": "prompt 3"}
{"id": "L1", "text": "prompt 4"}
{"id": "L5", "text": "prompt 5"}
`

// Lines that cannot run keep the whole batch from running, unless they are to be skipped.
func TestBatchWithBadLinesIsRejected(t *testing.T) {
	b := newBench(t, nil)
	id := b.submit(b.spec("bad", twoBad))
	r := b.settled(id)
	say := b.wantEnd(r, a2a.TaskStateRejected)
	for _, want := range []string{"2 of 5 lines cannot run", "line 2: text", "line 4: id", "onBadLine=skip"} {
		if !strings.Contains(say, want) {
			t.Errorf("the batch says %q, without %q", say, want)
		}
	}
	if n := b.started.Load(); n != 0 {
		t.Errorf("%d items were run", n)
	}

	var got []string
	for _, f := range b.results(batch.ErrorsFile(id)) {
		got = append(got, fmt.Sprint(f.Line, " ", f.ID, " ", f.Error.Code))
	}
	if diff := cmp.Diff([]string{"2 L2 invalid_request", "4 L1 duplicate_custom_id"}, got); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
	if text := b.read(batch.ResultsFile(id)); text != "" {
		t.Errorf("results: %s", text)
	}
	if diff := cmp.Diff([]string{"errors /" + batch.ErrorsFile(id)}, artifacts(r)); diff != "" {
		t.Errorf("artifacts (-want +got):\n%s", diff)
	}
	if st := b.state(id); st.Lines != 5 || st.Bad != 2 || st.Fed != 0 {
		t.Errorf("the progress is %+v", st)
	}
}

func artifacts(r task.Record) (all []string) {
	for _, a := range r.Task.Artifacts {
		all = append(all, fmt.Sprint(a.ID, " ", a.Parts[0].URL()))
	}
	return all
}

// With skip they are in the errors, and all others run.
func TestBatchSkipsBadLines(t *testing.T) {
	b := newBench(t, nil)
	s := b.spec("bad", twoBad)
	s.OnBad = batch.Skip
	id := b.submit(s)
	r := b.settled(id)
	b.wantEnd(r, a2a.TaskStateCompleted)
	faults := b.wantLines(id, 5, 2, 4)
	if faults[2].Error.Code != batch.CodeLine || faults[4].Error.Code != batch.CodeDuplicate {
		t.Errorf("the errors are %+v", faults)
	}
	if diff := cmp.Diff([]string{"results /" + batch.ResultsFile(id), "errors /" + batch.ErrorsFile(id)}, artifacts(r)); diff != "" {
		t.Errorf("artifacts (-want +got):\n%s", diff)
	}
	for _, line := range []int{2, 4} {
		if _, err := b.Store.Load(t.Context(), task.ItemID(id, line)); !errors.Is(err, task.ErrNotFound) {
			t.Errorf("line %d became a task: %v", line, err)
		}
	}
}

// A file that is no manifest is rejected with the reason.
func TestFilesThatAreNoManifest(t *testing.T) {
	b := newBench(t, nil)
	for text, want := range map[string]string{
		"\n\n":                          "is empty",
		"[1, 2]\n":                      "array",
		`{"prompt": "what?"}` + "\n":    "no known form",
		"\xff\xfe{\x00}\x00\n\x00":      "UTF-16",
		"{\"id\": \"a\", \"text\":\n1}": "ends within",
	} {
		id := b.submit(b.spec(fmt.Sprintf("%x", text), text))
		r := b.settled(id)
		if say := b.wantEnd(r, a2a.TaskStateRejected); !strings.Contains(say, want) {
			t.Errorf("%q: %s, want %q", text, say, want)
		}
		b.read(batch.ResultsFile(id))
		b.read(batch.ErrorsFile(id))
	}
}

// A manifest that is gone, or is another one, fails the batch before anything runs.
func TestManifestThatIsGone(t *testing.T) {
	b := newBench(t, nil)
	gone := b.spec("gone", manifest(3))
	if err := b.uploads.Delete(t.Context(), owner, gone.Input.File); err != nil {
		t.Fatal(err)
	}
	other := b.spec("other", manifest(3))
	other.Input.SHA256 = strings.Repeat("0", 64)

	for _, s := range []batch.Spec{gone, other} {
		id := b.submit(s)
		r := b.settled(id)
		if say := b.wantEnd(r, a2a.TaskStateFailed); !strings.Contains(say, "gone, or is not the one") {
			t.Errorf("%s: %s", s.Name, say)
		}
		if text := b.read(batch.ResultsFile(id)) + b.read(batch.ErrorsFile(id)); text != "" {
			t.Errorf("%s: its files have %s", s.Name, text)
		}
	}
	if n := b.started.Load(); n != 0 {
		t.Errorf("%d items were run", n)
	}
}

// A line may name files of the batch's owner, by their ids and by their URLs at the agent. Each is
// kept for the line's task. A line that names another file has no answer but the reason.
func TestFilesThatLinesName(t *testing.T) {
	b := newBench(t, func(c *batches.Config) { c.Form.Hosts = []string{"agent.example"} })
	create := func(of, mediaType string) string {
		t.Helper()
		f, err := b.uploads.Create(t.Context(), of, uploads.Upload{MediaType: mediaType}, strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		return f.ID
	}
	text, picture, foreign, gone := create(owner, "text/plain"), create(owner, "image/png"), create("other/bob", "text/plain"), create(owner, "text/plain")
	if err := b.uploads.Delete(t.Context(), owner, gone); err != nil {
		t.Fatal(err)
	}

	lines := ""
	for i, part := range []string{
		`{"data": {"file": "` + text + `"}}`, `{"url": "https://agent.example/files/` + text + `/content"}`,
		`{"data": {"file": "` + foreign + `"}}`, `{"url": "https://agent.example/files/` + gone + `/content"}`, `{"data": {"file": "` + picture + `"}}`,
	} {
		lines += fmt.Sprintf(`{"id": "L%d", "message": {"parts": [{"text": "prompt %d"}, %s]}}`+"\n", i+1, i+1, part)
	}
	id := b.submit(b.spec("files", lines))
	b.wantEnd(b.settled(id), a2a.TaskStateCompleted)
	faults := b.wantLines(id, 5, 3, 4, 5)
	for line, want := range map[int]string{3: "names no file of yours", 4: "names no file of yours", 5: "reads text/plain"} {
		if got := faults[line].Error.Message; !strings.HasPrefix(got, "message.parts[1] ") || !strings.Contains(got, want) {
			t.Errorf("line %d: %q, want %q", line, got, want)
		}
	}

	for line := 1; line <= 2; line++ {
		kept, err := b.Store.KV().List(t.Context(), "taskfile/"+task.ItemID(id, line)+"/", "", kv.LimitCount)
		if err != nil || len(kept) != 1 || !strings.HasSuffix(kept[0].Key, "/"+text) {
			t.Errorf("kept for line %d: %v, %v", line, kept, err)
		}
	}
}

// A line may name objects that the access file gives to the batch's owner, and web pages. A line
// that names another object has no answer but the reason, which does not tell whether there is one.
func TestObjectsThatLinesName(t *testing.T) {
	const right, plain = "message.parts[1] names an object that you may not have read", "message.parts[1] must be gs://BUCKET/NAME as it stands"
	b := newBench(t, func(c *batches.Config) {
		c.Form.Input = []string{"*/*"}
		c.Objects = objects.Guarded{May: func(of, url string) bool { return of == owner && strings.HasPrefix(url, "gs://acme-in/") }}
	})

	lines, failed, want := "", []int(nil), map[int]string{}
	for i, row := range []struct{ url, fault string }{
		{"gs://acme-in/a.pdf", ""}, {"https://example.com/a.pdf", ""},
		{"gs://acme-out/a.pdf", right}, {"gs://acme-out/none.pdf", right}, {"gs://acme-in/../acme-out/a.pdf", plain}, {"gs://acme-in/%2e%2e/a.pdf", plain},
		{"https://generativelanguage.googleapis.com/v1beta/files/a", "message.parts[1] names a file that the Gemini API keeps"},
	} {
		n := i + 1
		lines += fmt.Sprintf(`{"id": "L%d", "message": {"parts": [{"text": "prompt %d"}, {"url": "%s"}]}}`+"\n", n, n, row.url)
		if row.fault != "" {
			failed, want[n] = append(failed, n), row.fault
		}
	}
	id := b.submit(b.spec("objects", lines))
	b.wantEnd(b.settled(id), a2a.TaskStateCompleted)
	for line, got := range b.wantLines(id, 7, failed...) {
		if !strings.HasPrefix(got.Error.Message, want[line]) {
			t.Errorf("line %d: %q, want %q", line, got.Error.Message, want[line])
		}
	}
	if n := b.started.Load(); n != 2 {
		t.Errorf("%d items were run", n)
	}

	// Another spelling of the scheme, and OpenAI's pictures, are none of these addresses.
	for name, text := range map[string]string{
		"capitals": `{"message": {"parts": [{"url": "GS://acme-in/a.pdf"}]}}`,
		"pictures": `{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "errand", "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "gs://acme-in/a.png"}}]}]}}`,
	} {
		b.wantEnd(b.settled(b.submit(b.spec(name, text+"\n"))), a2a.TaskStateRejected)
	}
}

// Lines that are read together, and are longer than what the reader holds, each keep their text.
func TestLongLinesKeepTheirText(t *testing.T) {
	b := newBench(t, nil)
	const lines = 60
	text := strings.ReplaceAll(manifest(lines), "}", strings.Repeat(" ", 12<<10)+"}")
	id := b.submit(b.spec("long", text))
	b.wantEnd(b.settled(id), a2a.TaskStateCompleted)
	b.wantLines(id, lines)
}
