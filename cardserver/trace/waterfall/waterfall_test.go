package waterfall_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"errand/cardserver/trace"
	"errand/cardserver/trace/waterfall"
)

func at(ms int) *time.Time {
	t := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC).Add(time.Duration(ms) * time.Millisecond)
	return &t
}

func spent(in, out int64, price float64) *trace.Spent {
	return &trace.Spent{Prompt: in, Output: out, Replies: 1, Price: &price, Currency: "USD"}
}

func value(s string) *trace.Content {
	return &trace.Content{Value: json.RawMessage(s), Bytes: len(s)}
}

// example is a task of two runs, with a wait between, and a call that has been made twice.
func example() trace.Trace {
	total := *spent(5000, 300, 0.0123)
	total.Replies, total.Unknown = 3, 1
	return trace.Trace{
		Task: "t1", Context: "c", State: "TASK_STATE_COMPLETED", StateAt: *at(20_000), Now: *at(90_000), Done: true, Spent: total,
		StepCount: 2, TurnCount: 1, Turns: []trace.Turn{{Number: 1, Message: "m", State: trace.TurnEnded, BegunAt: at(0), Spent: &total}},
		Runs: []trace.Run{
			{Number: 1, Turn: 1, BegunAt: at(500), EndedAt: at(5000), End: "parked", Why: "The task waits\nfor the model's quota.\x1b[31m"},
			{Number: 2, Turn: 1, BegunAt: at(12_000), EndedAt: at(20_000), End: trace.RunEnded},
		},
		Steps: []trace.Step{
			{Number: 1, Known: true, Turn: 1, Run: 1, Model: "m", At: at(2500), Spent: spent(1000, 100, 0.002), Calls: []trace.Call{
				{Number: 1, Name: "search", State: trace.CallDone, Args: value(`{"q":"é"}`), Result: value(`{"output":1}`), FirstAt: at(2500), BegunAt: at(2500), ResultAt: at(4000), Times: 1},
				{Number: 2, Name: "refund", State: trace.CallDone, Effects: true, FirstAt: at(2500), BegunAt: at(12_000), ResultAt: at(13_000), Times: 2,
					Args: value(`{}`), Result: &trace.Content{Begin: `{"output":"aaa`, Bytes: 65_000, Cut: true}},
			}},
			{Number: 2, Known: true, Turn: 1, Run: 2, Model: "m", At: at(15_000), Spent: spent(2000, 100, 0.004), Calls: []trace.Call{
				{Number: 1, Name: "a_tool_with_a_very_long_name_that_does_not_fit", State: trace.CallDone, Args: value(`{}`), Result: value(`{}`), FirstAt: at(15_000), BegunAt: at(15_000), ResultAt: at(15_001), Times: 1},
			}},
		},
		Results: []trace.Result{}, Deliveries: []trace.Delivery{{ID: "h", Origin: "https://hooks.example.com", State: "active", Notes: 2, Sent: 2, Attempts: []trace.Attempt{{At: *at(21_000), Note: 2, Status: 204}}}},
	}
}

// An agent answers with pages, the last one over and over.
type served struct {
	mu    sync.Mutex
	pages []func(w http.ResponseWriter, r *http.Request)
	seen  []*http.Request
}

func (s *served) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	page := s.pages[0]
	if len(s.pages) > 1 {
		s.pages = s.pages[1:]
	}
	s.seen = append(s.seen, r)
	s.mu.Unlock()
	page(w, r)
}

func page(t trace.Trace) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(t) }
}

func refusal(status int, after, detail string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		if after != "" {
			w.Header().Set("Retry-After", after)
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"detail": detail})
	}
}

// print runs the command against the answers, without waiting, and returns what it printed
// and how long it would have waited.
func print(t *testing.T, c waterfall.Config, pages ...func(http.ResponseWriter, *http.Request)) (out string, waits []time.Duration, s *served, err error) {
	t.Helper()
	s = &served{pages: pages}
	srv := httptest.NewServer(s)
	defer srv.Close()

	var b strings.Builder
	c.URL, c.Task, c.Out = srv.URL, "t1", &b
	c.After = func(d time.Duration) <-chan time.Time {
		waits = append(waits, d)
		now := make(chan time.Time, 1)
		now <- time.Now()
		return now
	}
	err = waterfall.Run(t.Context(), c)
	return b.String(), waits, s, err
}

// The picture in 80 columns, plain. Control characters of an agent do not reach the terminal.
func TestPicture(t *testing.T) {
	const want = `task t1
completed, 20 s since 2026-01-02T03:00:00Z
1 turn, 2 runs, 2 steps
5,300 tokens: 5,000 in, 300 out, 0 thought; 0.01230 USD
1 more reply of unknown cost

                          0                   20 s      time    tokens       USD
run 1 parked              ======                       4.5 s
  step 1                  ---                            2 s     1,100   0.00200
    search                   #                         1.5 s
    refund (2 times)         ############             10.5 s
wait                            ........                 7 s
  The task waits for the model's quota. [31m
run 2                                   ==========       8 s
  step 2                                ----             3 s     2,100   0.00400
    a_tool_with_a_very_..                   #           1 ms
  answer                                    ------       5 s     2,100   0.00630

webhook https://hooks.example.com (h) active: 2 of 2 notes delivered; last att..
`
	got, waits, s, err := print(t, waterfall.Config{Key: "key"}, page(example()))
	if diff := cmp.Diff(want, got); diff != "" || err != nil || len(waits) > 0 {
		t.Errorf("%v (-want +got):\n%s\n%s", err, diff, got)
	}
	if r := s.seen[0]; len(s.seen) != 1 || r.URL.Path != "/tasks/t1/trace" || r.Header.Get("X-API-Key") != "key" || r.Header.Get("Authorization") != "" {
		t.Errorf("requests %+v", s.seen)
	}
}

// Every line fits into the terminal, and every bar has a cell at least.
func TestPictureFitsTheTerminal(t *testing.T) {
	for _, width := range []int{0, 1, 40, 60, 80, 133, 250} {
		got, _, _, err := print(t, waterfall.Config{Details: true, Screen: func() waterfall.Screen { return waterfall.Screen{Width: width, Blocks: true} }}, page(example()))
		if err != nil {
			t.Fatal(err)
		}
		most := max(width, 40)
		if width == 0 {
			most = 80
		}
		for line := range strings.Lines(got) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > most {
				t.Errorf("%d columns in a terminal of %d: %q", n, width, line)
			}
		}
		if width >= 60 && strings.Count(got, "█") < 4 {
			t.Errorf("%d columns, and bars are missing:\n%s", width, got)
		}
		if !strings.Contains(got, `args   {"q":"é"}`) || !strings.Contains(got, `(65,000 bytes) {"ou`) {
			t.Errorf("the details are missing:\n%s", got)
		}
	}
}

// What the model was not shown of the conversation stands above the picture, without control
// characters.
func TestLeftOut(t *testing.T) {
	e := example()
	e.Runs[1].LeftOut = "3 earlier tasks,\n1 call\x1b[31m"
	got, _, _, err := print(t, waterfall.Config{}, page(e))
	if err != nil || !strings.Contains(got, "Run 2 was not shown of the conversation: 3 earlier tasks, 1 call") || strings.Contains(got, "\x1b") {
		t.Errorf("%v:\n%q", err, got)
	}
}

// A running task is asked for again, from the first step that is open on, less and less often
// while nothing changes, and the last picture is whole.
func TestFollow(t *testing.T) {
	over := example()
	open := example()
	open.State, open.Done, open.Now, open.StepCount = "TASK_STATE_WORKING", false, *at(3000), 1
	open.Runs = open.Runs[:1:1]
	open.Runs[0] = trace.Run{Number: 1, Turn: 1, BegunAt: at(500), End: trace.RunRunning}
	open.Steps = []trace.Step{example().Steps[0]}
	open.Steps[0].Open, open.Steps[0].Calls[1].Result, open.Steps[0].Calls[1].ResultAt = true, nil, nil
	open.Steps[0].Calls[1].State = trace.CallRunning

	got, waits, s, err := print(t, waterfall.Config{Follow: true},
		page(open), page(open), page(open), page(open), page(open), page(open),
		refusal(429, "7", "too many requests"), refusal(503, "", "not now"), page(open), page(over))
	if err != nil || !strings.HasPrefix(got, "task t1\ncompleted") || strings.Count(got, "task t1") != 1 {
		t.Errorf("%v:\n%s", err, got)
	}
	second := time.Second
	want := []time.Duration{second, 2 * second, 4 * second, 8 * second, 10 * second, 10 * second, 7 * second, 2 * second, 4 * second}
	if diff := cmp.Diff(want, waits); diff != "" {
		t.Errorf("waits (-want +got):\n%s", diff)
	}
	if q := s.seen[len(s.seen)-1].URL.RawQuery; q != "" {
		t.Errorf("the last request is after %s, and step 1 was open", q)
	}

	screen := func() waterfall.Screen { return waterfall.Screen{Width: 80, Height: 10, Redraws: true} }
	got, _, s, err = print(t, waterfall.Config{Follow: true, Screen: screen}, page(open), page(over))
	shown := strings.Split(got, "\x1b[H\x1b[2J")
	if err != nil || len(shown) != 3 || strings.Count(shown[1], "\n") != 9 || !strings.Contains(shown[1], ">") || !strings.HasPrefix(shown[2], "task t1\ncompleted") {
		t.Errorf("%v: %q", err, shown)
	}
	if len(s.seen) != 2 {
		t.Errorf("%d requests", len(s.seen))
	}

	got, waits, _, err = print(t, waterfall.Config{}, page(open))
	if err != nil || len(waits) > 0 || !strings.Contains(got, "working") {
		t.Errorf("without following: %v %v %s", err, waits, got)
	}
}

// Steps are read in all pages, also those that a running task has settled since.
func TestFollowReadsAllPages(t *testing.T) {
	first, second := example(), example()
	first.Steps, first.Next = first.Steps[:1], "1"
	second.Steps, second.Next = second.Steps[1:], "2"
	last := example()
	last.Steps, last.Results = nil, []trace.Result{{Turn: 1, Name: "charge", Result: value(`{"id":7}`)}}

	got, _, s, err := print(t, waterfall.Config{Details: true}, page(first), page(second), page(last))
	if err != nil || !strings.Contains(got, "step 1") || !strings.Contains(got, "step 2") || !strings.Contains(got, `turn 1  charge  {"id":7}`) {
		t.Errorf("%v:\n%s", err, got)
	}
	var after []string
	for _, r := range s.seen {
		after = append(after, r.URL.Query().Get("after"))
	}
	if diff := cmp.Diff([]string{"", "1", "2"}, after); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

// What is not known is said, and no bar is drawn for it.
func TestPictureOfAnEarlierProgramsTask(t *testing.T) {
	old := trace.Trace{Task: "t1", State: "TASK_STATE_FAILED", StateAt: *at(0), Now: *at(5), Done: true, TurnCount: 1, UnknownRuns: 3, StepCount: 1,
		Turns: []trace.Turn{{Number: 1}}, Steps: []trace.Step{{Number: 1}}}
	got, _, _, err := print(t, waterfall.Config{}, page(old))
	if err != nil || !strings.Contains(got, "Nothing is known of 3 runs.") || !strings.Contains(got, "step 1 not kept") || strings.ContainsAny(got, "#=") {
		t.Errorf("%v:\n%s", err, got)
	}
}

func TestErrors(t *testing.T) {
	many := make([]func(http.ResponseWriter, *http.Request), 0, 20)
	open := example()
	open.Done, open.State = false, "TASK_STATE_WORKING"
	many = append(many, page(open))
	for range 10 {
		many = append(many, refusal(503, "3600", "not now"))
	}
	for name, row := range map[string]struct {
		pages []func(http.ResponseWriter, *http.Request)
		want  string
	}{
		"unknown":       {[]func(http.ResponseWriter, *http.Request){refusal(404, "", "there is no such task")}, "404 Not Found: there is no such task"},
		"no key":        {[]func(http.ResponseWriter, *http.Request){refusal(401, "", "say who you are")}, "-key @FILE"},
		"busy":          {[]func(http.ResponseWriter, *http.Request){refusal(503, "", "not now")}, "503 Service Unavailable: not now"},
		"busy for long": {many, "not now"},
		"another":       {[]func(http.ResponseWriter, *http.Request){func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }}, "no trace"},
		"redirected": {[]func(http.ResponseWriter, *http.Request){func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://elsewhere.example.com/", http.StatusFound)
		}}, "302 Found"},
	} {
		_, waits, _, err := print(t, waterfall.Config{Follow: true, Key: "key"}, row.pages...)
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %s", name, err, row.want)
		}
		for _, d := range waits {
			if d > time.Minute {
				t.Errorf("%s: waits %v", name, d)
			}
		}
	}

	for url, want := range map[string]string{"agent.example.com": "complete", "http://u:p@x/": "credentials", "http://x/?a=b": "no user, query"} {
		if err := waterfall.Run(t.Context(), waterfall.Config{URL: url, Task: "t"}); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "u:p") {
			t.Errorf("%s: %v", url, err)
		}
	}
	if err := waterfall.Run(t.Context(), waterfall.Config{URL: "http://x", Task: "../push/keys"}); err == nil || !strings.Contains(err.Error(), "id") {
		t.Errorf("a path for an id: %v", err)
	}

	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("interrupted")
	cancel(cause)
	if err := waterfall.Run(ctx, waterfall.Config{URL: "http://127.0.0.1:1", Task: "t", Follow: true}); !errors.Is(err, cause) {
		t.Errorf("stopped: %v", err)
	}
}
