package task_test

import (
	"bytes"
	"errors"
	"fmt"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"pgregory.net/rapid"

	"errand/shared/task"
)

// A deed is one call of a transition, with all its arguments.
type deed struct {
	name  string
	small bool // R14: it fits into every record
	do    func(task.Record) (task.Record, bool, error)
}

// drawDeed draws any transition that can be called on r.
func drawDeed(t *rapid.T, r task.Record, m task.Moment, n int) deed {
	text := func(name string, most int) string { return strings.Repeat("x", rapid.IntRange(0, most).Draw(t, name)) }
	turn := task.Fence{Epoch: r.Epoch, Seq: r.Seq}
	say := &a2a.Message{ID: fmt.Sprint("say", n), Parts: a2a.ContentParts{a2a.NewTextPart("why")}}

	switch rapid.IntRange(0, 24).Draw(t, "deed") {
	case 15:
		if rapid.IntRange(0, 3).Draw(t, "really") > 0 {
			break
		}
		return deed{"Delete", true, func(r task.Record) (task.Record, bool, error) { return r.Delete(m) }}

	case 16:
		return deed{"GiveBack", true, func(r task.Record) (task.Record, bool, error) { return r.GiveBack(m, turn, task.Spent{}) }}

	case 24:
		p := task.Parking{Wake: m.Now.Add(time.Minute), Say: say, Held: true, Model: true}
		return deed{"Hold", true, func(r task.Record) (task.Record, bool, error) {
			next, _, changed, err := r.Hold(m, p, len(r.Notifications))
			return next, changed, err
		}}

	case 17:
		return deed{"Beside", true, func(r task.Record) (task.Record, bool, error) { return r.Beside(m, turn) }}

	case 18, 19, 20, 21, 22, 23:
		if d, ok := drawStepDeed(t, r, m, turn); ok {
			return d
		}

	case 0:
		msg := a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart(text("follow-up", 200<<10)))
		return deed{"FollowUp", false, func(r task.Record) (task.Record, bool, error) {
			return r.FollowUp(m, msg, task.Request{ID: msg.ID, Fingerprint: "p"})
		}}

	case 1, 2:
		c := task.Claim{Published: len(r.Notifications), Lease: task.Lease{
			Until: m.Now.Add(time.Minute), Queue: task.Turns, Name: text("name", 500), Nonce: fmt.Sprint(n), Alone: rapid.Bool().Draw(t, "alone"),
		}}
		return deed{"Claim", true, func(r task.Record) (task.Record, bool, error) {
			next, _, changed, err := r.Claim(m, c)
			return next, changed, err
		}}

	case 3, 4:
		more := rapid.Bool().Draw(t, "append")
		events := []a2a.Event{artifact(rapid.SampledFrom([]string{"a", "b"}).Draw(t, "id"), more, text("chunk", 500<<10))}
		return deed{"Progress", false, func(r task.Record) (task.Record, bool, error) { return r.Progress(m, turn, events) }}

	case 5:
		out := task.Outcome{State: rapid.SampledFrom([]a2a.TaskState{
			a2a.TaskStateCompleted, a2a.TaskStateInputRequired, a2a.TaskStateFailed, a2a.TaskStateRejected,
		}).Draw(t, "state"), Message: say}
		events := []a2a.Event{artifact("a", true, text("end", 300<<10))}
		return deed{"Finish", false, func(r task.Record) (task.Record, bool, error) { return r.Finish(m, turn, events, out) }}

	case 6:
		wake := m.Now.Add(time.Duration(rapid.IntRange(0, 100).Draw(t, "wake")) * time.Second)
		return deed{"Park", true, func(r task.Record) (task.Record, bool, error) {
			return r.Park(m, turn, nil, task.Parking{Wake: wake, Say: say})
		}}

	case 7:
		if rapid.IntRange(0, 3).Draw(t, "really") > 0 {
			break
		}
		if rapid.Bool().Draw(t, "suspended") {
			return deed{"Suspend", true, func(r task.Record) (task.Record, bool, error) { return r.Suspend(m, say) }}
		}
		return deed{"Cancel", true, func(r task.Record) (task.Record, bool, error) { return r.Cancel(m, say, nil) }}

	case 8:
		h := task.Webhook{ID: rapid.SampledFrom([]string{"h", "i"}).Draw(t, "hook"), URL: "https://x.test/" + text("url", 40<<10)}
		return deed{"SetHook", false, func(r task.Record) (task.Record, bool, error) { return r.SetWebhook(m, h) }}

	case 9:
		return deed{"DropHook", true, func(r task.Record) (task.Record, bool, error) { return r.DropWebhook(m, "h") }}

	case 10:
		var outcomes []task.Delivery
		for _, h := range r.Behind(m.Now) {
			outcomes = append(outcomes, task.Delivery{Webhook: h, Fail: true, Wait: m.Now.Add(time.Second),
				Tries: []task.Try{{At: m.Now, Notification: h.Cursor + 1, Error: "timeout"}}})
		}
		return deed{"Delivered", true, func(r task.Record) (task.Record, bool, error) { return r.Delivered(m, outcomes) }}

	case 11:
		return deed{"AskPing", true, func(r task.Record) (task.Record, bool, error) { return r.AskPing(m, "h") }}

	case 12:
		var outcomes []task.Delivery
		for _, h := range r.Webhooks {
			later := rapid.Bool().Draw(t, "later")
			d := task.Delivery{Webhook: h, Pinged: !h.Ping.IsZero(), Tries: []task.Try{{At: m.Now, Status: 200}}}
			if later {
				d = task.Delivery{Webhook: h, Wait: m.Now.Add(time.Hour)}
			}
			outcomes = append(outcomes, d)
		}

		return deed{"Delivered", true, func(r task.Record) (task.Record, bool, error) { return r.Delivered(m, outcomes) }}

	case 13:
		h, _ := r.Webhook("h")
		from := rapid.IntRange(0, 3).Draw(t, "from")
		return deed{"Redrive", true, func(r task.Record) (task.Record, bool, error) { return r.Redrive(m, "h", h.Gen, from) }}
	}

	if rapid.Bool().Draw(t, "swept") {
		return deed{"Swept", true, func(r task.Record) (task.Record, bool, error) {
			next, lanes, err := r.Swept(m, m.Now)
			return next, len(lanes) > 0, err
		}}
	}

	return deed{"MarkPublished", true, func(r task.Record) (task.Record, bool, error) { return r.MarkPublished(m, len(r.Notifications)) }}
}

// drawStepDeed draws a transition of the steps of a turn. There is none if it needs an open step
// and the record has none.
func drawStepDeed(t *rapid.T, r task.Record, m task.Moment, turn task.Fence) (d deed, ok bool) {
	events := []a2a.Event{artifact("b", true, strings.Repeat("x", rapid.IntRange(0, 100<<10).Draw(t, "said")))}
	if rapid.Bool().Draw(t, "silent") {
		events = nil
	}

	if r.Step == nil || rapid.IntRange(0, 2).Draw(t, "opens") == 0 {
		args := []byte(`"` + strings.Repeat("x", rapid.IntRange(0, 60<<10).Draw(t, "args")) + `"`)
		step := task.Step{Number: r.Steps + 1, Reply: []byte(`[]`), Calls: []task.Call{
			{Name: "pay", Args: args, Effects: true, Keeps: time.Hour, Limit: time.Minute}, {Name: "look", Limit: time.Minute},
		}}
		return deed{"OpenStep", false, func(r task.Record) (task.Record, bool, error) { return r.OpenStep(m, turn, events, step, []int{0}) }}, true
	}

	open, call := *r.Step, rapid.IntRange(0, 1).Draw(t, "call")
	switch rapid.IntRange(0, 4).Draw(t, "step deed") {
	case 0:
		times := map[int]int{call: open.Calls[call].Times}
		return deed{"BeginCalls", len(events) == 0, func(r task.Record) (task.Record, bool, error) {
			return r.BeginCalls(m, turn, events, open.Number, times)
		}}, true

	case 1:
		return deed{"Tell", true, func(r task.Record) (task.Record, bool, error) { return r.Tell(m, open.Number, call) }}, true

	case 2:
		p := task.Parking{Wake: m.Now.Add(time.Hour), Waits: []task.Wait{{Call: call, At: m.Now.Add(time.Hour), Told: true}}}
		return deed{"Park with waits", true, func(r task.Record) (task.Record, bool, error) { return r.Park(m, turn, nil, p) }}, true

	case 3:
		q := task.Question{Call: call, Hash: open.Calls[call].Hash, At: m.Now, Times: open.Calls[call].Times}
		out := task.Outcome{State: a2a.TaskStateInputRequired, Message: &a2a.Message{ID: "q", Parts: parts}, Question: &q}
		return deed{"Finish with a question", false, func(r task.Record) (task.Record, bool, error) { return r.Finish(m, turn, nil, out) }}, true
	}

	return deed{"Advanced", true, func(r task.Record) (task.Record, bool, error) { return r.Advanced(m, turn) }}, true
}

func TestLawsOfTransitions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := start
		ru := task.Defaults()
		msg := a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart(strings.Repeat("x", rapid.IntRange(0, 500<<10).Draw(t, "message"))))
		r, err := task.Accept(ru.At(now), task.Acceptance{ID: "t1", Context: "c1", Owner: "me", Lane: task.Turns, Message: msg, Request: task.Request{ID: msg.ID, Fingerprint: "p"}})
		if err != nil {
			t.Fatal(err)
		}

		for n := range rapid.IntRange(1, 20).Draw(t, "deeds") {
			now = now.Add(time.Duration(rapid.IntRange(0, 90).Draw(t, "later")) * time.Second)
			m := ru.At(now)
			d := drawDeed(t, r, m, n)
			other := drawDeed(t, r, m, n+100)
			before := encoding(r)
			next, changed, err := d.do(r)
			if !bytes.Equal(before, encoding(r)) {
				t.Fatalf("%s changed its receiver", d.name)
			}
			if d.small && errors.Is(err, task.ErrTooLarge) {
				t.Fatalf("%s does not fit into a record of %d bytes: %v", d.name, len(before), err)
			}

			if err != nil || !changed {
				continue
			}

			after := encoding(next)
			if _, _, err := other.do(r); !bytes.Equal(after, encoding(next)) {
				t.Fatalf("%s of the receiver changed the result of %s (%v)", other.name, d.name, err)
			}
			if _, changed, err := d.do(next); changed || err != nil {
				t.Fatalf("%s does not recognise its own result: changed %v, %v", d.name, changed, err)
			}

			survives(t, next)
			lawsOfNewDebts(t, d.name, r, next, m)
			r = next
		}
	})
}

// survives checks that the stored form is read back as it was written.
func survives(t *rapid.T, r task.Record) {
	t.Helper()
	enc, err := bare(r).Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := task.Decode(enc.Head, enc.Body, r.Version)
	if err != nil {
		t.Fatal(err)
	}
	if again := encoding(got); !bytes.Equal(encoding(r), again) {
		t.Fatalf("the record %s was read back as %s", encoding(r), again)
	}
}

// filled makes the largest record of at most so many bytes by trying texts of different
// lengths.
func filled(t *testing.T, most int, try func(text string) (task.Record, error)) task.Record {
	t.Helper()
	over := sort.Search(most, func(n int) bool { _, err := try(strings.Repeat("x", n)); return err != nil })
	r, err := try(strings.Repeat("x", over-1))
	if err != nil {
		t.Fatal(err)
	}
	enc, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if got := enc.Size(); got < most-16 || got > most {
		t.Fatalf("filled to %d bytes, want %d", got, most)
	}
	return r
}

// A record that is as large as each stage allows still has room for the next smaller
// commit.
func TestNextSmallerCommitFits(t *testing.T) {
	r := filled(t, task.LimitAccept, func(text string) (task.Record, error) {
		msg := a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart(text))
		return task.Accept(at(0), task.Acceptance{ID: "t1", Context: "c1", Owner: "me", Lane: task.Turns, Message: msg, Request: task.Request{ID: msg.ID, Fingerprint: "p1"}})
	})

	r = claimed(t, r, at(time.Second), "n1")
	r = filled(t, task.LimitResult, func(text string) (task.Record, error) {
		next, _, err := r.Progress(at(2*time.Second), turnOf(r), []a2a.Event{artifact("a", false, text)})
		return next, err
	})

	if parked, changed, err := r.Park(at(3*time.Second), turnOf(r), nil, task.Parking{Wake: start.Add(time.Minute)}); err != nil || !changed {
		t.Errorf("Park: %v, %v", changed, err)
	} else {
		claimed(t, parked, at(2*time.Minute), "n2")
	}

	hooked := func(size int) (task.Record, error) {
		next, _, err := r.SetWebhook(at(3*time.Second), task.Webhook{ID: "h", URL: "https://x.test/" + strings.Repeat("x", size)})
		return next, err
	}

	largest := sort.Search(task.LimitWebhooks, func(size int) bool { _, err := hooked(size); return err != nil }) - 1
	if largest >= 0 { // a webhook that is accepted must leave room too
		if next, err := hooked(largest); err != nil {
			t.Fatal(err)
		} else {
			r = next
		}
	}

	long := task.Lease{Until: start.Add(time.Hour), Queue: task.Turns, Name: strings.Repeat("n", 500), Nonce: "n2"}
	if next, v, _, err := r.Claim(at(2*time.Minute), task.Claim{Lease: long}); err != nil || v != task.Claimed {
		t.Errorf("Claim: %v, %v", v, err)
	} else {
		r = next
	}

	if _, _, err := r.Swept(at(2*time.Hour), start.Add(2*time.Hour)); err != nil {
		t.Errorf("Swept: %v", err)
	}

	say := a2a.NewMessage(a2a.MessageRoleAgent, a2a.NewTextPart("The client wished it."))
	if _, _, err := r.Cancel(at(3*time.Minute), say, nil); err != nil {
		t.Errorf("Cancel: %v", err)
	}
	if _, _, err := r.Finish(at(3*time.Minute), turnOf(r), nil, task.Outcome{State: a2a.TaskStateFailed, Message: say}); err != nil {
		t.Errorf("Finish: %v", err)
	}
}

// Deliveries and claims make a record larger than a result may be. Parking its turn is a
// small commit, which fits nevertheless.
func TestParkFitsAfterDeliveries(t *testing.T) {
	r := claimed(t, accepted(t, "x"), at(time.Second), "n1")
	r, _, err := r.SetWebhook(at(time.Second), task.Webhook{ID: "h", URL: "https://x.test"})
	if err != nil {
		t.Fatal(err)
	}
	if r, _, err = r.Finish(at(2*time.Second), turnOf(r), nil, task.Outcome{State: a2a.TaskStateInputRequired}); err != nil {
		t.Fatal(err)
	}
	if r, _, err = r.FollowUp(at(3*time.Second), message(2), task.Request{ID: message(2).ID, Fingerprint: "p2"}); err != nil {
		t.Fatal(err)
	}

	r = claimed(t, r, at(4*time.Second), "n2")
	r = filled(t, task.LimitResult, func(text string) (task.Record, error) {
		next, _, err := r.Progress(at(5*time.Second), turnOf(r), []a2a.Event{artifact("a", false, text)})
		return next, err
	})

	for n := range 5 {
		m := at(time.Duration(n+6) * time.Second)
		r, _, err = r.Delivered(m, []task.Delivery{{
			Webhook: r.Webhooks[0], Fail: true, Wait: m.Now.Add(time.Second), Tries: []task.Try{{At: m.Now, Notification: 1, Error: "timeout"}},
		}})
		if err != nil {
			t.Fatal(err)
		}
	}

	if _, changed, err := r.Park(at(time.Minute), turnOf(r), nil, task.Parking{Wake: start.Add(time.Hour)}); err != nil || !changed {
		t.Errorf("Park: %v, %v", changed, err)
	}
}

func FuzzDecode(f *testing.F) {
	msg := a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart("x"), a2a.NewDataPart(map[string]any{"k": 1}))
	r, err := task.Accept(at(0), task.Acceptance{ID: "t1", Context: "c1", Owner: "me", Lane: task.Turns, Message: msg, Request: task.Request{ID: msg.ID, Fingerprint: "p1"},
		Webhooks: []task.Webhook{{ID: "h", URL: "https://x.test"}}})
	if err != nil {
		f.Fatal(err)
	}

	enc, err := r.Encode()
	if err != nil {
		f.Fatal(err)
	}

	f.Add(enc.Head, enc.Body)
	f.Add([]byte(`{"schema":2,"id":"t","later":{}}`), []byte(`{"log":[{"seq":1}],"artifacts":[null],"history":[null]}`))
	f.Add([]byte(`{"lease":{},"due":"0001-01-01T00:00:00Z","hooks":null}`), []byte(`{"history":[{"parts":[{"data":null}]}]}`))

	f.Fuzz(func(t *testing.T, head, body []byte) {
		r, err := task.Decode(head, body, 1)
		if err != nil {
			return
		}

		enc, err := bare(r).Encode()
		if errors.Is(err, task.ErrNewer) {
			return
		}
		if err != nil {
			t.Fatalf("a decoded record is not encoded again: %v", err)
		}

		again, err := task.Decode(enc.Head, enc.Body, 1)
		if err != nil {
			t.Fatalf("an encoded record is not decoded again: %v", err)
		}
		if !bytes.Equal(encoding(r), encoding(again)) {
			t.Fatalf("%s became %s", encoding(r), encoding(again))
		}
	})
}
