package main_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"google.golang.org/genai"

	"errand/shared/adapters/standin"
	lab "errand/shared/lab/agent"
	"errand/shared/lab/conformance"
)

// A till is the model and the receiver of refunds for the items of a batch. Both outlive the
// program. The message of an item is its order, which the model refunds before it answers. The
// receiver keeps keys: a call whose key it knows has no other effect.
type till struct {
	t               *testing.T
	model, receiver *httptest.Server

	mu     sync.Mutex
	asked  int                        // requests to the model
	words  map[string]bool            // orders about which the model has said its words
	calls  int                        // calls of the receiver
	silent int                        // calls that have their effect next, and no answer before the program dies
	keys   map[string]map[string]bool // of the effects, by order
}

func newTill(t *testing.T) *till {
	s := &till{t: t, words: map[string]bool{}, keys: map[string]map[string]bool{}}
	s.model = httptest.NewServer(standin.New(s.reply))
	t.Cleanup(s.model.Close)
	s.receiver = httptest.NewServer(http.HandlerFunc(s.receive))
	t.Cleanup(s.receiver.Close)
	return s
}

func (s *till) env() []string {
	definition := filepath.Join(s.t.TempDir(), "agent.yaml")
	if err := os.WriteFile(definition, []byte(shopDefinition), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return []string{
		"ERRAND_AGENT=" + definition, "GEMINI_API_KEY=k", "ERRAND_MODEL=gemini:m@" + s.model.URL,
		"ERRAND_SETTING_SERVICE=" + s.receiver.URL, "ERRAND_AGENT_ALLOW=" + strings.TrimPrefix(s.receiver.URL, "http://"),
	}
}

// reply is the answer of the model: a refund, and then words.
func (s *till) reply(_ context.Context, r standin.Request) standin.Reply {
	if r.Op != standin.OpStream {
		return standin.Text("1")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	try, order := s.asked, r.Contents[0].Parts[0].Text
	if len(r.Contents) > 1 {
		s.words[order] = true
		return standin.Text(order + " is refunded.")
	}
	return standin.Call(&genai.FunctionCall{ID: fmt.Sprint("try", try), Name: "refund", Args: map[string]any{"order": order, "try": try}})
}

// receive makes the effect of a call, unless its key is known. Some calls have no answer.
func (s *till) receive(w http.ResponseWriter, r *http.Request) {
	var o lab.Order
	if json.NewDecoder(r.Body).Decode(&o) != nil {
		return // the program died while sending
	}

	s.mu.Lock()
	s.calls++
	if s.keys[o.Order] == nil {
		s.keys[o.Order] = map[string]bool{}
	}
	s.keys[o.Order][r.Header.Get(lab.HeaderKey)] = true
	answers := s.silent == 0
	if !answers {
		s.silent--
	}
	s.mu.Unlock()

	if !answers {
		<-r.Context().Done()
		return
	}
	fmt.Fprint(w, "done")
}

// fallSilent has the next calls have their effect, and no answer.
func (s *till) fallSilent(calls int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silent = calls
}

// answered is how many orders the model has answered to the end.
func (s *till) answered() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.words)
}

// requests are those to the model and to the receiver.
func (s *till) requests() (asked, calls int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked, s.calls
}

// longest is how long nothing may happen: a turn whose processes have died waits up to five minutes
// (R12), and may then have to wait for the others.
const longest = 10*time.Minute + patience

// await returns when so many orders are answered.
func (s *till) await(n int) {
	s.t.Helper()
	for had, since := s.answered(), time.Now(); had < n; time.Sleep(time.Millisecond) {
		if now := s.answered(); now > had {
			had, since = now, time.Now()
		}
		if time.Since(since) > longest {
			s.t.Fatalf("%d orders are answered, and no other one for %v, want %d", had, longest, n)
		}
	}
}

// TestBatchIsKilledAtAnyMoment kills the program while it takes in, runs and collects a batch
// whose items have effects. Each line has its answer, once and in order, and its effect, once.
// The same manifest sent again starts nothing, and has the same answers.
func TestBatchIsKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	lines, kills, atEnd := conformance.Long(400, 2000, 10_000), conformance.Long(4, 16, 64), conformance.Size(1, 3)
	s := newTill(t)
	p := start(t, s.env()...)
	var manifest strings.Builder
	for n := 1; n <= lines; n++ {
		fmt.Fprintf(&manifest, `{"id":"id-%d","text":"order-%d"}`+"\n", n, n)
	}

	// The moments of crashes: while the manifest is sent, after so many answers, and after the
	// last one.
	moments := []int{0}
	for each := lines / (kills - 1 - atEnd); len(moments) < kills-atEnd; {
		moments = append(moments, (len(moments)-1)*each+rand.IntN(each))
	}
	for range atEnd {
		moments = append(moments, lines)
	}

	began := time.Now()
	sent := make(chan batchView, 1)
	go func() { sent <- sendManifest(t, p, manifest.String()) }()
	for i, n := range moments {
		s.await(n)
		if i < len(moments)/2 {
			s.fallSilent(rand.IntN(8)) // some calls are in doubt after the crash, for seconds
		}
		time.Sleep(time.Duration(rand.IntN(30)) * time.Millisecond) // the moment of the crash
		p.kill()
		s.fallSilent(0)
		p.start()
	}

	id := (<-sent).ID
	at := p.url() + "/batches/" + id
	v := batch(t, http.StatusOK, "GET", at, "", "")
	for end := time.Now().Add(longest); !v.Complete && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		v = batch(t, http.StatusOK, "GET", at, "", "")
	}
	took := time.Since(began)

	if v.State != "completed" || *v.Lines != lines || v.Completed != lines || v.Failed != 0 {
		t.Errorf("the batch is %+v", v)
	}

	results := s.judge(p, at, lines)
	oneFile(t, p, id)
	asked, calls := s.requests()

	p.kill()
	p.start()
	if again := sendManifest(t, p, manifest.String()); again.ID != id || !again.Complete {
		t.Errorf("sent again it is %+v", again)
	}
	if again := s.judge(p, at, lines); again != results {
		t.Error("the answers have changed")
	}
	if askedNow, callsNow := s.requests(); askedNow != asked || callsNow != calls {
		t.Errorf("the manifest that came again has made %d requests to the model, and %d calls", askedNow-asked, callsNow-calls)
	}
	t.Logf("%d items, killed %d times, took %v: %.0f items/s; %d requests to the model, %d calls",
		lines, len(moments), took.Round(10*time.Millisecond), float64(lines)/took.Seconds(), asked, calls)
}

// sendManifest submits a manifest until it is taken.
func sendManifest(t *testing.T, p *process, manifest string) batchView {
	return persist(t.Context(), t, func() (v batchView, err error) {
		res, err := http.Post(p.url()+"/batches", "application/jsonl", strings.NewReader(manifest))
		if err != nil {
			return v, err
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusAccepted && res.StatusCode != http.StatusOK {
			text, err := io.ReadAll(res.Body)
			return v, fmt.Errorf("%s: %s, %w", res.Status, text, err)
		}
		return v, json.NewDecoder(res.Body).Decode(&v)
	})
}

// judge checks the files, the effects and the items of a batch. It returns the answers.
func (s *till) judge(p *process, at string, lines int) (results string) {
	s.t.Helper()
	t := s.t
	status, _, results := ask(t, "GET", at+"/results", "", "")
	n := 0
	for answers := bufio.NewScanner(strings.NewReader(results)); answers.Scan(); {
		n++
		var v struct {
			ID, Text string
			Line     int
		}
		err := json.Unmarshal(answers.Bytes(), &v)
		if want := fmt.Sprintf("order-%d is refunded.", n); err != nil || v.Line != n || v.ID != fmt.Sprintf("id-%d", n) || v.Text != want {
			t.Fatalf("the answer %d is %s, %v", n, answers.Bytes(), err)
		}
	}

	if status != http.StatusOK || n != lines {
		t.Errorf("there are %d answers, want %d: %d", n, lines, status)
	}
	if status, _, failures := ask(t, "GET", at+"/errors", "", ""); status != http.StatusOK || failures != "" {
		t.Errorf("the errors are %d %.2000s", status, failures)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	for n := 1; n <= lines; n++ {
		if keys := s.keys[fmt.Sprint("order-", n)]; len(keys) != 1 {
			t.Errorf("order %d has %d effects: %v", n, len(keys), keys)
		}
	}

	items, err := p.client().ListTasks(t.Context(), &a2a.ListTasksRequest{ContextID: at[strings.LastIndex(at, "/")+1:], PageSize: 1})
	if err != nil || items.TotalSize != lines || len(s.keys) != lines {
		t.Errorf("there are %d orders and %d items, want %d: %v", len(s.keys), items.TotalSize, lines, err)
	}
	return results
}

// oneFile checks that a batch that is complete has one file of answers and one of errors, and
// nothing is left of the segments from which they were made.
func oneFile(t *testing.T, p *process, id string) {
	t.Helper()
	task, err := p.client().GetTask(t.Context(), &a2a.GetTaskRequest{ID: a2a.TaskID(id)})
	if err != nil || len(task.Artifacts) != 2 || task.Artifacts[0].ID != "results" || task.Artifacts[1].ID != "errors" {
		t.Errorf("the task of the batch is %+v, %v", task, err)
	}

	eventually(t, "the deletion of the segments", func() bool {
		left := 0
		err := filepath.WalkDir(p.dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && strings.Contains(path, id) && strings.Contains(path, "/000") {
				left++
			}
			return err
		})
		return err == nil && left == 0
	})
}
