package main_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"google.golang.org/genai"

	lab "errand/shared/lab/agent"
	"errand/shared/lab/conformance"
	"errand/shared/lab/postgres"
)

// Answers of a person to a question about a call.
const (
	sayHappened = "it happened"
	sayDoIt     = "it did not: do it"
	sayLeaveIt  = "leave it"
)

// points are all points of a turn with a step of two calls, and its answer.
var points = []point{
	{1, 0, askBegins}, {1, 0, askHalf}, {1, 0, askEnds},
	{1, 1, callBegins}, {1, 1, callDone}, {1, 1, callEnds},
	{1, 2, callBegins}, {1, 2, callDone}, {1, 2, callEnds},
	{2, 0, askBegins}, {2, 0, askHalf}, {2, 0, askEnds},
}

// A cut is a turn whose process dies at a point.
type cut struct {
	turn, tool string
	point      point
	early      string // is sent before there is a question; empty: nothing is
	unclear    bool   // the first answer to a question is not clear
	leave      bool   // the person does not look, and leaves the call
	data       bool   // the answer is a data part, else words

	id    a2a.TaskID
	asked int
	left  map[string]int // orders that were left, with the effects until then
}

// certain reports whether the program dies during a call of which its receiver knows nothing
// later.
func (c *cut) certain() bool {
	return c.tool == "payout" && (c.point.kind == callBegins || c.point.kind == callDone)
}

// cuts are turns for all points. The answers change from round to round.
func cuts(round int) (all []*cut) {
	for i, p := range points {
		for _, tool := range []string{"refund", "payout"} {
			c := &cut{turn: fmt.Sprintf("R%dT%d%s", round, i, tool), tool: tool, point: p, left: map[string]int{}}
			c.data, c.unclear = (round+i)%2 == 0, (round+i)%3 == 1
			if c.certain() {
				c.leave = p.call == 2 && (p.kind == callBegins) == (round%2 == 0)
				c.early = map[kind]string{callBegins: sayHappened, callDone: sayDoIt}[p.kind] // which is not so
			}
			all = append(all, c)
		}
	}
	return all
}

// A murder is the death of the program while turns run, each at its own point.
type murder struct {
	s *shop

	mu      sync.Mutex
	cuts    map[string]*cut
	over    bool
	begin   chan struct{} // closed when the model answers for the first time
	release chan struct{} // closed when turns pass the points from which they go on
	reached map[string]bool
}

// at implements the field of shop: each turn stays at its own point until the program dies.
func (m *murder) at(turn string, p point) bool {
	m.mu.Lock()
	c, over := m.cuts[turn], m.over
	m.mu.Unlock()
	if c == nil || over {
		return false
	}

	if p == (point{1, 0, askBegins}) {
		<-m.begin
	}
	if p != c.point {
		return false
	}
	m.mu.Lock()
	m.reached[turn] = true
	m.mu.Unlock()
	if p.kind.ends() {
		<-m.release
		return false
	}
	return true
}

// TestEffectsHappenOnce kills the program at every point of a turn with two calls with
// effects, and at random moments after it. A receiver that keeps keys makes each effect once.
// One that keeps none makes it never twice without the word of a person. The arguments are
// those of the stored reply.
func TestEffectsHappenOnce(t *testing.T) {
	t.Parallel()
	for name, store := range map[string]func(*testing.T) []string{
		"SQLite":   func(*testing.T) []string { return nil },
		"Postgres": func(t *testing.T) []string { return alone(t, postgres.Database(t)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rounds := 1
			if name == "SQLite" {
				rounds = conformance.Size(1, 9) // of 24 turns each
			}

			s := newShop(t)
			s.calls = func(turn, tool string, step, try int) []*genai.FunctionCall {
				if step > 1 {
					return nil
				}
				return []*genai.FunctionCall{orderCall(tool, turn, "A", try), orderCall(tool, turn, "B", try)}
			}
			p := start(t, s.env(store(t)...)...)

			said := map[string]int{}
			for round := range rounds {
				killRound(t, s, p, round, said)
			}
			for _, answer := range []string{sayHappened, sayDoIt, sayLeaveIt, "as data", "in words"} {
				if said[answer] == 0 {
					t.Errorf("no question was answered %q", answer)
				}
			}
			t.Logf("%d turns were killed, and questions answered: %v", rounds*2*len(points), said)
		})
	}
}

// killRound runs turns, kills the program when each is at its point, and follows them to
// their end.
func killRound(t *testing.T, s *shop, p *process, round int, said map[string]int) {
	all := cuts(round)
	m := &murder{s: s, cuts: map[string]*cut{}, begin: make(chan struct{}), release: make(chan struct{}), reached: map[string]bool{}}
	for _, c := range all {
		m.cuts[c.turn] = c
	}
	s.mu.Lock()
	s.at = m.at
	s.mu.Unlock()

	c := p.client()
	for _, cut := range all {
		cut.id = mustSend(t, c, immediately(userText(cut.turn, cut.turn+" "+cut.tool))).ID
	}
	s.await("request for each turn", func() bool {
		return !slices.ContainsFunc(all, func(c *cut) bool { return s.asks[c.turn][1] == 0 })
	})
	for _, cut := range all {
		if cut.early != "" {
			mustSend(t, c, immediately(answering(cut.turn+"-early", cut.id, a2a.NewTextPart(cut.early))))
		}
	}

	close(m.begin)
	m.await(t, len(all))
	close(m.release)
	time.Sleep(time.Duration(rand.IntN(40)) * time.Millisecond) // the moment of the crash
	p.kill()
	m.mu.Lock()
	m.over = true
	m.mu.Unlock()
	p.start()

	again := make(chan struct{})
	go func() {
		defer close(again)
		if round%3 == 1 { // the next process dies, too
			time.Sleep(time.Duration(rand.IntN(8000)) * time.Millisecond)
			p.kill()
			p.start()
		}
	}()
	for _, cut := range all {
		cut.follow(t, s, p.client(), said)
	}
	<-again
}

// await returns when all turns are at their points.
func (m *murder) await(t *testing.T, n int) {
	t.Helper()
	m.s.await("turn at each point", func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return len(m.reached) == n
	})
}

// answering is a message to a task.
func answering(id string, task a2a.TaskID, part *a2a.Part) *a2a.SendMessageRequest {
	return &a2a.SendMessageRequest{Message: &a2a.Message{
		ID: id, TaskID: task, Role: a2a.MessageRoleUser, Parts: a2a.ContentParts{part},
	}}
}

// follow answers the questions about the calls of a turn, as a person does who looks, until it
// has ended, and judges it.
func (c *cut) follow(t *testing.T, s *shop, client operations, said map[string]int) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	last := ""
	for {
		task := until(t, client, c.id, "ended, or a question", func(task *a2a.Task) bool {
			asks := task.Status.State == a2a.TaskStateInputRequired && task.Status.Message != nil && task.Status.Message.ID != last
			return terminal(task) || asks
		})
		if terminal(task) {
			c.judge(t, s, task)
			return
		}

		last = task.Status.Message.ID
		if c.asked++; c.asked > 4 {
			t.Fatalf("%s: answers are not understood: %q", c.turn, wordsOf(task.Status.Message))
		}
		part, answer := c.answer(t, s, task)
		if answer != "" {
			said[answer]++
			said[map[bool]string{true: "as data", false: "in words"}[c.data]]++
		}

		req := immediately(answering(fmt.Sprintf("%s-answer%d", c.turn, c.asked), c.id, part))
		persist(ctx, t, func() (a2a.SendMessageResult, error) { return client.SendMessage(ctx, req) })
	}
}

// answer answers a question. Nothing was approved before it.
func (c *cut) answer(t *testing.T, s *shop, task *a2a.Task) (part *a2a.Part, answer string) {
	t.Helper()
	s.settle()
	q := questionOf(t, task)
	args, _ := q["arguments"].(map[string]any)
	name, _ := args["order"].(string)
	order := strings.TrimPrefix(name, c.turn+"-")

	s.mu.Lock()
	replied := s.replied[c.turn]
	s.mu.Unlock()
	switch {
	case c.tool != "payout":
		t.Errorf("%s: a question is asked about a call whose receiver keeps keys: %v", c.turn, q)
	case q["tool"] != c.tool || (order != "A" && order != "B"):
		t.Errorf("%s: the question is %v", c.turn, q)
	case task.Status.Timestamp.Before(replied.Add(lab.CallLimit)):
		t.Errorf("%s: the question came %v after the reply of the model, within the time limit of the call", c.turn, task.Status.Timestamp.Sub(replied))
	case c.unclear && c.asked == 2 && !strings.Contains(wordsOf(task.Status.Message), "not understood"):
		t.Errorf("%s: an answer that is not clear is followed by %q", c.turn, wordsOf(task.Status.Message))
	}

	times := s.times(c.turn, order)
	if times > 1 {
		t.Errorf("%s: order %s has %d effects when it is asked about", c.turn, order, times)
	}
	if c.unclear && c.asked == 1 {
		return a2a.NewTextPart("Yes."), ""
	}

	answer = sayDoIt
	switch {
	case c.leave:
		answer = sayLeaveIt
		c.left[order] = times
	case times == 1:
		answer = sayHappened
	}
	if !c.data {
		return a2a.NewTextPart(strings.ToUpper(answer[:1]) + answer[1:] + "."), answer
	}
	return a2a.NewDataPart(map[string]any{"answer": map[string]any{"key": q["key"], "hash": q["hash"], "answer": answer}}), answer
}

// questionOf is the data of a question about a call. Its words name the three answers.
func questionOf(t *testing.T, task *a2a.Task) map[string]any {
	t.Helper()
	for _, answer := range []string{sayHappened, sayDoIt, sayLeaveIt} {
		if !strings.Contains(wordsOf(task.Status.Message), answer) {
			t.Errorf("the question %q does not name the answer %q", wordsOf(task.Status.Message), answer)
		}
	}
	for _, p := range task.Status.Message.Parts {
		if d, ok := p.Data().(map[string]any); ok {
			if q, ok := d["question"].(map[string]any); ok {
				return q
			}
		}
	}
	t.Fatalf("the question has no data: %+v", task.Status.Message)
	return nil
}

func wordsOf(m *a2a.Message) string {
	var words []string
	for _, p := range m.Parts {
		words = append(words, p.Text())
	}
	return strings.Join(words, " ")
}

// judge checks the end of a turn and the effects of its calls.
func (c *cut) judge(t *testing.T, s *shop, task *a2a.Task) {
	t.Helper()
	s.settle()
	if task.Status.State != a2a.TaskStateCompleted || !strings.Contains(text(task), "All is done.") {
		t.Errorf("%s ended %s, %q: %+v", c.turn, task.Status.State, text(task), task.Status.Message)
	}
	if c.certain() && c.asked == 0 {
		t.Errorf("%s: its process died during a call whose receiver keeps no keys, and nobody was asked", c.turn)
	}

	for _, order := range []string{"A", "B"} {
		want, left := c.left[order]
		if !left {
			want = 1
		}
		if got := s.times(c.turn, order); got != want {
			t.Errorf("%s: order %s has %d effects, want %d, left %v, after %d questions", c.turn, order, got, want, left, c.asked)
		}
	}

	s.mu.Lock()
	shown := slices.Clone(s.shown[c.turn])
	s.mu.Unlock()
	if len(shown) != 2 {
		t.Errorf("%s: the model saw the calls %+v, want two", c.turn, shown)
	}
	for _, d := range s.effects(c.turn) {
		if !slices.Contains(shown, d.Order) {
			t.Errorf("%s: the effect %+v is not of the stored calls %+v", c.turn, d.Order, shown)
		}
	}
}
