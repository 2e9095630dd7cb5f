package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/adapters/standin"
	"errand/shared/auth"
	"errand/shared/lab/conformance"
	"errand/shared/queue"
)

// A sluice is a model that answers as many requests of each kind as a test lets through. The
// kind is the first word of a message. Every other request waits.
type sluice struct {
	*httptest.Server

	mu     sync.Mutex
	free   map[string]bool            // kinds of which all are answered
	most   map[string]int             // requests of a kind that may pass yet
	passed map[string]int             // requests that were answered
	came   map[string]map[string]bool // messages that were asked
	opened chan struct{}              // closed when more may pass
}

func newSluice(t *testing.T) *sluice {
	s := &sluice{free: map[string]bool{}, most: map[string]int{}, passed: map[string]int{}, came: map[string]map[string]bool{}, opened: make(chan struct{})}
	s.Server = httptest.NewServer(standin.New(func(ctx context.Context, r standin.Request) standin.Reply {
		if r.Op != standin.OpStream {
			return standin.Text("1")
		}
		text := r.Contents[len(r.Contents)-1].Parts[0].Text
		kind, _, _ := strings.Cut(text, " ")
		for {
			opened, ok := s.pass(kind, text)
			if ok {
				return standin.Text("answer to " + text)
			}
			select {
			case <-opened:
			case <-ctx.Done():
				return standin.Reply{}
			}
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// pass lets a request through, or returns what to wait for.
func (s *sluice) pass(kind, text string) (opened <-chan struct{}, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.came[kind] == nil {
		s.came[kind] = map[string]bool{}
	}
	s.came[kind][text] = true
	if !s.free[kind] && s.most[kind] == 0 {
		return s.opened, false
	}
	if !s.free[kind] {
		s.most[kind]--
	}
	s.passed[kind]++
	return nil, true
}

// let lets so many requests of a kind pass from now on.
func (s *sluice) let(kind string, most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.most[kind] = most
	close(s.opened)
	s.opened = make(chan struct{})
}

// open lets all requests of a kind pass.
func (s *sluice) open(kind string) {
	s.mu.Lock()
	s.free[kind] = true
	s.mu.Unlock()
	s.let(kind, 0)
}

// count tells how many requests of a kind have passed, and how many messages have come.
func (s *sluice) count(kind string) (passed, came int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.passed[kind], len(s.came[kind])
}

// A caller is a client of a process with a key of its own.
type caller struct {
	t   *testing.T
	p   *process
	key string
}

// batch makes a request that is answered with a batch.
func (c caller) batch(method, url, body string) (v batchView) {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	client := http.Client{Transport: bearer(c.key)}
	res, err := client.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&v); err != nil || res.StatusCode/100 != 2 {
		c.t.Fatalf("%s %s: %s %+v, %v", method, url, res.Status, v, err)
	}
	return v
}

// submit sends a manifest whose messages begin with a kind, and returns the address of the batch.
func (c caller) submit(kind string, lines int) (at string) {
	c.t.Helper()
	var manifest strings.Builder
	for n := 1; n <= lines; n++ {
		fmt.Fprintf(&manifest, `{"text":"%s %d"}`+"\n", kind, n)
	}
	return c.p.url() + "/batches/" + c.batch("POST", c.p.url()+"/batches?name="+kind, manifest.String()).ID
}

// complete waits until a batch is.
func (c caller) complete(at string) {
	c.t.Helper()
	eventually(c.t, "the end of the batch", func() bool { return c.batch("GET", at, "").Complete })
}

// begun waits until so many lines of a batch are tasks. The batch itself tells it seconds later.
func (c caller) begun(at string, lines int) {
	c.t.Helper()
	client, id := keyed(c.t, c.p, c.key), at[strings.LastIndex(at, "/")+1:]
	eventually(c.t, "the beginning of the items", func() bool {
		list, err := client.ListTasks(c.t.Context(), &a2a.ListTasksRequest{ContextID: id, PageSize: 1})
		return err == nil && list.TotalSize >= lines
	})
}

// TestLargeBatchLeavesRoom has one owner's batch fill its lane, with a long line behind. Then
// messages are answered at once, also the owner's own, and another owner's batch ends soon. The
// large batch waits for the test, so that what must not wait for it ends however slow the machine
// is, and what must would never end.
func TestLargeBatchLeavesRoom(t *testing.T) {
	t.Parallel()
	lines, waiting, small := conformance.Size(2000, 100_000), conformance.Size(300, 1900), conformance.Size(50, 100)
	const messages = 20
	lane, _ := queue.LaneOf(queue.Bulk)

	large, hash := auth.NewKey()
	other, otherHash := auth.NewKey()
	access := filepath.Join(t.TempDir(), "access.yaml")
	text := fmt.Sprintf("principals:\n  - {name: large, keys: ['%s']}\n  - {name: other, keys: ['%s']}\n", hash, otherHash)
	if err := os.WriteFile(access, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newSluice(t)
	p := start(t, "ERRAND_ACCESS="+access, "GEMINI_API_KEY=k", "ERRAND_MODEL=gemini:m@"+s.URL)
	theirs, mine := caller{t, p, large}, caller{t, p, other}
	s.open("message")
	s.open("alone")

	began := time.Now()
	mine.complete(mine.submit("alone", small))
	alone := time.Since(began)

	s.let("large", waiting/2) // a batch that ends nothing begins few items at a time
	theirs.begun(theirs.submit("large", lines), waiting/2+waiting)
	eventually(t, "a full lane", func() bool {
		passed, came := s.count("large")
		return passed == waiting/2 && came == passed+lane.Slots
	})

	var took []time.Duration
	most := 0
	for n := range messages {
		key := []string{large, other}[n%2]
		before, _ := s.count("large")

		s.let("large", lane.Slots) // so many items may end meanwhile, and begin
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		res, err := keyed(t, p, key).SendMessage(ctx, userText(fmt.Sprint("m", n), fmt.Sprint("message ", n)))
		cancel()
		if task, ok := res.(*a2a.Task); err != nil || !ok || !terminal(task) {
			t.Fatalf("the message %d is answered with %+v, %v", n, res, err)
		}
		took = append(took, time.Since(began))

		after, _ := s.count("large")
		most = max(most, after-before)
		s.let("large", 0)
	}

	slices.Sort(took)
	t.Logf("%d messages beside a batch of %d lines: half took at most %v, the longest %v; at most %d items ended meanwhile",
		messages, lines, took[messages/2], took[messages-1], most)

	at := mine.submit("small", small)
	mine.begun(at, small)
	passed, _ := s.count("large")
	began = time.Now()
	s.let("large", 3*small)
	s.open("small")
	mine.complete(at)
	beside := time.Since(began)
	now, _ := s.count("large")
	t.Logf("a batch of %d lines took %v alone, and %v beside %d items of the large one", small, alone, beside, now-passed)

	if conformance.Full() { // with nothing held
		s.open("large")
		s.open("free")
		passed, _ := s.count("large")
		began := time.Now()
		mine.complete(mine.submit("free", small))
		beside := time.Since(began)
		now, _ := s.count("large")
		t.Logf("with nothing held it took %v, %.1f times as long as alone, beside %d items", beside, beside.Seconds()/alone.Seconds(), now-passed)
	}
}
