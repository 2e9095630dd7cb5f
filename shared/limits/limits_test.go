package limits_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/auth"
	"errand/shared/desk"
	base "errand/shared/lab/world"
	"errand/shared/limits"
	"errand/shared/task"
)

// A bench is a desk whose messages are limited, on a real store.
type bench struct {
	*testing.T
	w      *base.World
	desk   *desk.Desk
	limits *limits.Limits
	of     auth.Limits
	looks  int
	most   int // tasks that the last look counts
	now    time.Time
	sent   int
	wait   time.Duration // for tokens
}

var none = auth.Limits{Turns: auth.None, Waiting: auth.None, Requests: auth.None, Streams: auth.None, Stored: auth.None, TokensPerDay: auth.None}

func newBench(t *testing.T, of auth.Limits) *bench {
	b := &bench{T: t, w: base.New(t, base.Config{}), of: of, now: time.Now()}
	b.limits = limits.New(limits.Config{
		Of: func(string) auth.Limits { return b.of }, Holder: b, Now: func() time.Time { return b.now },
		Tokens: func(context.Context, string) (time.Duration, error) { return b.wait, nil },
	})
	b.desk = desk.New(desk.Config{Store: b.w.Store, Queue: b.w.Jobs, Rules: b.w.Rules, Now: b.w.Now, Log: b.w.Log, Room: b.limits.Admit})
	return b
}

// Held counts the looks at the store.
func (b *bench) Held(ctx context.Context, owner string, most int) (task.Holding, error) {
	b.looks++
	b.most = most
	return b.w.Store.Held(ctx, owner, most)
}

func (b *bench) send(owner string) (task.Record, error) {
	b.sent++
	m := a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart(strings.Repeat("x", 1000)))
	m.ID = fmt.Sprint(b.sent)
	return b.desk.Accept(b.Context(), desk.Message{Owner: owner, Message: m})
}

// refusal is the refusal that an error is. It names the limit and when to come again.
func (b *bench) refusal(err error, limit string) *auth.Refusal {
	b.Helper()
	no, ok := errors.AsType[*auth.Refusal](err)
	if !ok {
		b.Fatalf("%v, want a refusal", err)
	}
	if no.Status != http.StatusTooManyRequests || no.By != "limit "+limit || no.After <= 0 || !strings.Contains(no.Message, limit) {
		b.Errorf("refused with %+v, want 429 with the limit %s and a time", no, limit)
	}
	return no
}

// An owner may have so many tasks that wait, and no more. The store is asked a few times for
// hundreds of messages, and not at all for an owner that sends few. A message that was
// accepted before still finds its task.
func TestWaiting(t *testing.T) {
	const most = 300
	of := none
	of.Waiting = most
	b := newBench(t, of)

	var ids []string
	var err error
	for err == nil {
		var r task.Record
		if r, err = b.send("flood"); err == nil {
			ids = append(ids, r.ID())
		}
	}

	no := b.refusal(err, "waiting")
	if len(ids) != most || b.looks > 60 {
		t.Errorf("%d messages were accepted with %d looks at the store, want %d, and 60 looks at most", len(ids), b.looks, most)
	}
	if no.After != time.Minute {
		t.Errorf("come again after %v, while no task ends", no.After)
	}

	before := b.looks
	for range 4 {
		if _, err := b.send("quiet"); err != nil {
			t.Errorf("another owner: %v", err)
		}
	}

	if b.looks != before {
		t.Errorf("%d looks for an owner that sends little", b.looks-before)
	}

	b.sent = 0 // the first message once more
	if r, err := b.send("flood"); err != nil || r.ID() != ids[0] {
		t.Errorf("a repeated message: %s, %v, want %s", r.ID(), err, ids[0])
	}

	b.sent = 1000
	for _, id := range ids[:50] {
		if _, err := b.desk.ChangeByID(t.Context(), id, func(r task.Record, m task.Moment) (task.Record, bool, error) {
			return r.Cancel(m, a2a.NewMessage(a2a.MessageRoleAgent), nil)
		}); err != nil {
			t.Fatal(err)
		}
	}

	b.now = b.now.Add(time.Second)
	more := 0
	for err = nil; err == nil; more++ {
		_, err = b.send("flood")
	}

	if no := b.refusal(err, "waiting"); more-1 != 50 || no.After > 2*time.Second {
		t.Errorf("after 50 tasks had ended, %d were accepted, and the refusal says %v", more-1, no.After)
	}
}

// Stored bytes are limited where the store counts them, and a deletion makes room.
func TestStored(t *testing.T) {
	of := none
	of.Stored = 20_000
	b := newBench(t, of)
	var last task.Record
	var err error
	n := 0
	for ; err == nil && n < 100; n++ {
		var r task.Record
		if r, err = b.send("large"); err == nil {
			last = r
		}
		b.now = b.now.Add(time.Second)
	}

	b.refusal(err, "stored")
	if b.most != 0 {
		t.Errorf("a look counts up to %d tasks of an owner that may have any number", b.most)
	}
	if held, herr := b.w.Store.Held(t.Context(), "large", 1000); herr != nil || held.Bytes < of.Stored || held.Bytes > of.Stored+2000 {
		t.Errorf("refused at %d bytes, %v", held.Bytes, herr)
	}

	if _, err := b.desk.ChangeByID(t.Context(), last.ID(), task.Record.Delete); err != nil {
		t.Fatal(err)
	}

	b.now = b.now.Add(time.Second)
	if _, err := b.send("large"); err != nil {
		t.Errorf("after a deletion: %v", err)
	}
}

// An owner that sends a few messages a minute meets its limits too. It passes them by the
// messages without a look, and is let in again as soon as there is room.
func TestSlowOwner(t *testing.T) {
	const most = 10
	const few = 4
	slow := func(b *bench) (sent int, err error) {
		for ; err == nil && sent < 100; sent++ {
			if _, err = b.send("slow"); err != nil {
				break
			}
			b.now = b.now.Add(20 * time.Second)
		}
		return sent, err
	}

	of := none
	of.Waiting = most
	b := newBench(t, of)
	n, err := slow(b)
	b.refusal(err, "waiting")
	if n < most || n > most+few {
		t.Errorf("%d messages were accepted, want %d and %d more at most", n, most, few)
	}
	if b.looks > n/2 {
		t.Errorf("%d looks at the store for %d slow messages", b.looks, n)
	}

	for range 3 { // a pause is no way past a limit
		b.now = b.now.Add(2 * time.Minute)
		_, err := b.send("slow")
		b.refusal(err, "waiting")
	}

	b.of.Waiting = int64(n + 1)
	if _, err := b.send("slow"); err != nil {
		t.Errorf("with a raised limit: %v", err)
	}

	of = none
	of.Stored = 20_000
	b = newBench(t, of)
	_, err = slow(b)
	b.refusal(err, "stored")
	if held, herr := b.w.Store.Held(t.Context(), "slow", 1000); herr != nil || held.Bytes > of.Stored+(few+1)*2000 {
		t.Errorf("refused at %d bytes, %v", held.Bytes, herr)
	}
}

// The day's tokens are limited until midnight.
func TestTokens(t *testing.T) {
	of := none
	of.TokensPerDay = 70
	b := newBench(t, of)
	b.wait = 20 * time.Minute
	_, err := b.send("a")
	if no := b.refusal(err, "tokensPerDay"); no.After != 20*time.Minute {
		t.Errorf("come again after %v, want 20 min", no.After)
	}
	b.wait = 0
	if _, err := b.send("a"); err != nil {
		t.Error(err)
	}
}

// Streams are limited by the caller's own number, and by what is free.
func TestEnter(t *testing.T) {
	const most = 3
	of := none
	of.Streams = most
	b := newBench(t, of)
	var leaves []func()

	for range most {
		leave, err := b.limits.Enter("a")
		if err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, leave)
	}

	_, err := b.limits.Enter("a")
	b.refusal(err, "streams")
	if _, err := b.limits.Enter("b"); err != nil {
		t.Errorf("another owner: %v", err)
	}

	leaves[0]()
	if _, err := b.limits.Enter("a"); err != nil {
		t.Errorf("after one has ended: %v", err)
	}

	b.of.Streams = auth.None
	n := 0
	for err = nil; err == nil; n++ {
		_, err = b.limits.Enter("c")
	}

	if b.refusal(err, "streams"); n-1 > limits.Places/2 || n-1 < limits.Places/2-10 {
		t.Errorf("one owner took %d of %d places", n-1, limits.Places)
	}
}

// Many callers at once pass no limit.
func TestConcurrentMessages(t *testing.T) {
	const most = 100
	of := none
	of.Waiting = most
	b := newBench(t, of)

	var all sync.WaitGroup
	var mu sync.Mutex
	accepted := 0
	for g := range 16 {
		all.Go(func() {
			for i := range 20 {
				m := a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart("x"))
				m.ID = fmt.Sprint(g, "-", i)
				if _, err := b.desk.Accept(t.Context(), desk.Message{Owner: "a", Message: m}); err == nil {
					mu.Lock()
					accepted++
					mu.Unlock()
				}
			}
		})
	}

	all.Wait()
	if accepted < most || accepted > most+16 {
		t.Errorf("%d messages were accepted, want %d, and as many more as are sent at once", accepted, most)
	}
}
