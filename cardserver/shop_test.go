package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"google.golang.org/genai"

	"errand/shared/adapters/standin"
	lab "errand/shared/lab/agent"
)

// A kind is a kind of point of a step, in the order in which they are reached.
type kind int

const (
	askBegins  kind = iota // the model has the request
	askHalf                // the model has sent the beginning of its reply
	askEnds                // the model sends its whole reply
	callBegins             // the receiver has the call
	callDone               // the call has had its effect
	callEnds               // the receiver answers
)

// ends reports whether the program goes on from the point at once: it dies a moment later.
func (k kind) ends() bool { return k == askEnds || k == callEnds }

// A point is a moment of a turn that the model or the receiver sees.
type point struct {
	step int // of the turn, from 1
	call int // the number of calls that have reached the receiver in this step; 0: the model is asked
	kind kind
}

// A deed is a call as the receiver got it.
type deed struct {
	tool string
	lab.Order
	key string
	at  time.Time
}

// A shop is the model and the receiver of calls of some turns, which are named by the first
// word of their message. Both outlive the program. The model asks each time with other words,
// other ids, other arguments, and in another order.
type shop struct {
	t               *testing.T
	model, receiver *httptest.Server

	// calls are the calls of a step, by the second word of the message. None end the turn.
	calls func(turn, tool string, step, try int) []*genai.FunctionCall

	// at is told each point. It may hold the program there. If it returns true, the program
	// dies at the point, and hears no more from the shop.
	at func(turn string, p point) bool

	later func(turn string, calls int) time.Duration // how long a call must wait to be made again; nil: no call waits

	mu      sync.Mutex
	asks    map[string]map[int]int // requests to the model, by turn and step
	replied map[string]time.Time   // when the model sent its first reply
	shown   map[string][]lab.Order // arguments of the calls in the newest request
	came    []deed                 // calls that reached the receiver
	made    []deed                 // effects, and looks
	open    map[net.Conn]int       // connections to the receiver, in the order in which they were made
	conns   int
}

func newShop(t *testing.T) *shop {
	s := &shop{
		t: t, asks: map[string]map[int]int{}, replied: map[string]time.Time{},
		shown: map[string][]lab.Order{}, open: map[net.Conn]int{},
	}
	s.at = func(string, point) bool { return false }
	s.model = httptest.NewServer(standin.New(s.reply))
	t.Cleanup(s.model.Close)

	s.receiver = httptest.NewUnstartedServer(http.HandlerFunc(s.receive))
	s.receiver.Config.ConnState = s.connected
	s.receiver.Start()
	t.Cleanup(s.receiver.Close)
	return s
}

// shopDefinition is an agent with tools that call the receiver of a shop.
const shopDefinition = `name: Cashier
description: Refunds orders and pays them out.
version: 1.0.0
model: m
skills: [{id: s, name: S, description: d, tags: [t]}]

settings:
  - {name: service, type: url, description: The receiver of calls.}
tools: [refund, payout, transfer, look]
limits: {steps: 64, turnTokens: 1000000}
`

// env is the environment of a program whose agent works for the shop.
func (s *shop) env(more ...string) []string {
	definition := filepath.Join(s.t.TempDir(), "agent.yaml")
	if err := os.WriteFile(definition, []byte(shopDefinition), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return append(more,
		"ERRAND_AGENT="+definition, "GEMINI_API_KEY=k", "ERRAND_MODEL=gemini:m@"+s.model.URL, "ERRAND_TURNS=64",
		"ERRAND_SETTING_SERVICE="+s.receiver.URL, "ERRAND_AGENT_ALLOW="+strings.TrimPrefix(s.receiver.URL, "http://"))
}

// reply is the answer of the model.
func (s *shop) reply(_ context.Context, r standin.Request) standin.Reply {
	if r.Op != standin.OpStream {
		return standin.Text("1")
	}

	turn, tool, step := "", "", 1
	var shown []lab.Order
	for _, c := range r.Contents {
		called := false
		for _, p := range c.Parts {
			if turn == "" && p.Text != "" {
				turn, tool, _ = strings.Cut(p.Text, " ")
			}
			if p.FunctionCall != nil {
				called = true
				shown = append(shown, argsOf(p.FunctionCall))
			}
		}
		if called {
			step++
		}
	}

	s.mu.Lock()
	if s.asks[turn] == nil {
		s.asks[turn] = map[int]int{}
	}
	s.asks[turn][step]++
	try := s.asks[turn][step]
	s.shown[turn] = shown
	s.mu.Unlock()

	if s.reach(turn, point{step, 0, askBegins}) {
		return standin.Reply{Hang: true}
	}
	reply := s.whole(step, try, s.calls(turn, tool, step, try))
	if s.reach(turn, point{step, 0, askHalf}) {
		return standin.Reply{Chunks: reply.Chunks[:1], Hang: true}
	}
	s.reach(turn, point{step, 0, askEnds})

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.replied[turn].IsZero() {
		s.replied[turn] = time.Now()
	}
	return reply
}

// reach tells the test a point.
func (s *shop) reach(turn string, p point) (dies bool) {
	s.mu.Lock()
	at := s.at
	s.mu.Unlock()
	return at(turn, p)
}

// whole is a reply of two chunks. It costs 100 tokens more than its step has read, and ten.
func (s *shop) whole(step, try int, calls []*genai.FunctionCall) standin.Reply {
	words := fmt.Sprintf("Try %d of step %d.", try, step)
	reply := standin.Text("All is ", "done.")
	if len(calls) > 0 {
		reply = standin.Text(words)
		reply.Chunks[0].Candidates[0].FinishReason, reply.Chunks[0].UsageMetadata = "", nil
		if try%2 == 0 {
			slices.Reverse(calls)
		}
		for i, c := range calls {
			c.ID = fmt.Sprintf("try%d-%d", try, i)
		}
		reply.Chunks = append(reply.Chunks, standin.Call(calls...).Chunks...)
	}

	prompt := promptOf(step)
	reply.Chunks[len(reply.Chunks)-1].UsageMetadata = &genai.GenerateContentResponseUsageMetadata{
		PromptTokenCount: prompt, CandidatesTokenCount: outputOf, TotalTokenCount: prompt + outputOf,
	}
	return reply
}

// Tokens of a reply.
func promptOf(step int) int32 { return int32(100 + step) }

const outputOf = 10

// orderCall is a call with an order of the turn.
func orderCall(tool, turn, order string, try int) *genai.FunctionCall {
	return &genai.FunctionCall{Name: tool, Args: map[string]any{"order": turn + "-" + order, "try": try}}
}

func argsOf(c *genai.FunctionCall) lab.Order {
	order, _ := c.Args["order"].(string)
	try, _ := c.Args["try"].(float64)
	return lab.Order{Order: order, Try: int(try)}
}

// receive is the receiver of calls. It keeps the keys of refunds alone.
func (s *shop) receive(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet { // by settle
		return
	}
	d := deed{tool: strings.TrimPrefix(r.URL.Path, "/"), key: r.Header.Get(lab.HeaderKey), at: time.Now()}
	if json.NewDecoder(r.Body).Decode(&d.Order) != nil {
		return // the program died while sending
	}
	turn, _, _ := strings.Cut(d.Order.Order, "-")
	step, _, _ := strings.Cut(d.key[strings.LastIndex(d.key, "/")+1:], ".")
	n, err := strconv.Atoi(step)
	if err != nil {
		s.t.Errorf("the key of a call is %q, want TASK/LIFE/STEP.CALL", d.key)
		return
	}

	s.mu.Lock()
	s.came = append(s.came, d)
	p := point{step: n, call: len(s.of(s.came, turn, n))}
	s.mu.Unlock()
	reached := func(k kind) bool {
		p.kind = k
		dies := s.reach(turn, p)
		if dies {
			<-r.Context().Done()
		}
		return dies
	}

	if reached(callBegins) {
		return
	}
	if s.later != nil {
		if wait := s.later(turn, p.call); wait > 0 {
			w.WriteHeader(http.StatusAccepted)
			fmt.Fprint(w, wait.Milliseconds())
			return
		}
	}

	s.do(d)
	if reached(callDone) {
		return
	}
	reached(callEnds)
	fmt.Fprint(w, d.tool, " of ", d.Order.Order, " is done")
}

// do makes the effect of a call. A refund with a known key has no other effect.
func (s *shop) do(d deed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, before := range s.made {
		if d.tool == "refund" && before.key == d.key {
			if before.Order != d.Order {
				s.t.Errorf("the call %s came with %+v, and again with %+v", d.key, before.Order, d.Order)
			}
			return
		}
	}
	s.made = append(s.made, d)
}

// of are the calls of a turn's step; step 0: of all its steps.
func (s *shop) of(all []deed, turn string, step int) (these []deed) {
	for _, d := range all {
		name, _, _ := strings.Cut(d.Order.Order, "-")
		if name == turn && (step == 0 || strings.Contains(d.key, fmt.Sprintf("/%d.", step))) {
			these = append(these, d)
		}
	}
	return these
}

// effects are the effects of a turn.
func (s *shop) effects(turn string) (effects []deed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.of(s.made, turn, 0) {
		if d.tool != "look" {
			effects = append(effects, d)
		}
	}
	return effects
}

// times counts the effects on an order.
func (s *shop) times(turn, order string) (n int) {
	for _, d := range s.effects(turn) {
		if d.Order.Order == turn+"-"+order {
			n++
		}
	}
	return n
}

// connected keeps the connections to the receiver. Each call has its own.
func (s *shop) connected(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state {
	case http.StateNew:
		s.conns++
		s.open[c] = s.conns
	case http.StateClosed:
		delete(s.open, c)
	}
}

// settle returns when no call that was sent before can have an effect any more: it makes a
// connection, and all that were made before it come to their end.
func (s *shop) settle() {
	s.t.Helper()
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := c.Get(s.receiver.URL)
	if err != nil {
		s.t.Fatal(err)
	}
	res.Body.Close()

	s.mu.Lock()
	last := s.conns
	s.mu.Unlock()
	s.await("end of the calls before", func() bool {
		for _, n := range s.open {
			if n < last {
				return false
			}
		}
		return true
	})
}

// await polls the shop, under its lock.
func (s *shop) await(what string, ok func() bool) {
	s.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for {
		s.mu.Lock()
		done := ok()
		s.mu.Unlock()
		if done {
			return
		}
		select {
		case <-end:
			s.t.Fatalf("there is no %s", what)
		case <-tick.C:
		}
	}
}

// used is the cost of a task, as its metadata tells it.
func used(t *testing.T, task *a2a.Task, what string) int {
	t.Helper()
	usage, _ := task.Metadata["usage"].(map[string]any)
	if usage == nil {
		t.Fatalf("task %s does not say what it used: %v", task.ID, task.Metadata)
	}
	n, _ := usage[what].(float64)
	return int(n)
}
