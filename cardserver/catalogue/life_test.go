package catalogue_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	door "errand/cardserver/catalogue"
	"errand/shared/catalogue"
	"errand/shared/egress"
	"errand/shared/lab/conformance"
	base "errand/shared/lab/world"
)

const home = "https://x.example/.well-known/agent-card.json"

// What is not taken: each is refused by name, and nothing of it is kept.
func TestCardsThatAreNotTaken(t *testing.T) {
	ring := newRing(t)
	w := newWorld(t, "{"+trust("signed.example", ring)+"}")
	elsewhere := cardOf("https://victim.example", "Bank", "pay")

	w.far.put("https://liar.example/a.json", elsewhere)
	w.refused("alice", "https://liar.example/a.json", 400, "another host")

	w.far.put("https://signed.example/a.json", cardOf("https://signed.example", "Bank", "pay"))
	w.refused("alice", "https://signed.example/a.json", 400, "not signed as it must be")
	w.far.put("https://signed.example/b.json", sign(t, cardOf("https://signed.example", "Bank", "pay"), newRing(t)))
	w.refused("alice", "https://signed.example/b.json", 400, "not signed as it must be")

	w.far.serve("https://x.example/endless.json", func(rw http.ResponseWriter, r *http.Request) {
		for text := []byte(strings.Repeat(" ", 64<<10)); r.Context().Err() == nil; {
			if _, err := rw.Write(text); err != nil {
				return
			}
		}
	})
	w.refused("alice", "https://x.example/endless.json", 400, "card")
	big := cardOf(home, "Big", "fly")
	big.Description = strings.Repeat("x", 64<<10)
	w.far.put("https://x.example/big.json", big)
	w.refused("alice", "https://x.example/big.json", 400, "more than 63 KiB")

	w.far.serve("https://x.example/page.json", func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, "<html>") })
	w.refused("alice", "https://x.example/page.json", 400, "not an agent card")
	w.far.put("https://x.example/empty.json", cardOf(home, "Empty"))
	w.refused("alice", "https://x.example/empty.json", 400, "skills")
	w.refused("alice", "https://x.example/none.json", 400, "does not lead to a card")
	w.refused("alice", "https://me:secret@x.example/", 400, "must be the address")
	for _, host := range []string{"x.example.", "x.example:", "x.example:0443", "b\u00fccher.example", "x%2eexample", "x.example:8443.evil.example"} {
		w.refused("alice", "https://"+host+"/a.json", 400, "must ") // in one spelling alone: its keys are found by it
	}

	if l := read[door.List](w, 200, w.ask(w, "ada", "GET", "/catalogue/agents", "")); l.Total != 0 {
		t.Errorf("taken were %q", namesOf(l.Agents))
	}
}

// The guarded way out is that of webhooks: private addresses are refused when the address is given and
// when its name leads there, and a redirect is not followed.
func TestWayInwardsIsClosed(t *testing.T) {
	w := newWorld(t, "{}")
	out, err := egress.New(egress.Config{})
	if err != nil {
		t.Fatal(err)
	}
	w.Handler, w.agents = w.process(out, out.CheckURL)
	for _, at := range []string{"https://127.0.0.1/a.json", "https://169.254.169.254/a.json", "http://metadata.google.internal/a.json", "https://localhost/"} {
		w.refused("alice", at, 400, "url")
	}

	inner := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") }))
	defer inner.Close()
	outer := httptest.NewServer(http.RedirectHandler(inner.URL+"/a.json", http.StatusFound))
	defer outer.Close()
	allow, err := egress.ParseAllow(strings.TrimPrefix(outer.URL, "http://") + "," + strings.TrimPrefix(inner.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	if out, err = egress.New(egress.Config{Allow: allow}); err != nil {
		t.Fatal(err)
	}
	w.Handler, w.agents = w.process(out, out.CheckURL)
	w.refused("alice", outer.URL+"/moved.json", 400, "without a redirect")
}

// Require: signed lets in only cards that are signed by a trusted key; otherwise an unsigned card is
// taken, and marked.
func TestUnsignedIsTheOperatorsChoice(t *testing.T) {
	ring := newRing(t)
	w := newWorld(t, "{require: signed, "+trust("", ring)+"}")
	w.far.put(home, cardOf(home, "X", "fly"))
	w.refused("alice", home, 400, "not signed as it must be")
	w.far.put(home, sign(t, cardOf(home, "X", "fly"), ring))
	if a := w.register("alice", home, ""); !a.Signed || a.Key == "" {
		t.Errorf("%+v", a)
	}

	w = newWorld(t, "{"+trust("", ring)+"}")
	w.far.put(home, sign(t, cardOf(home, "X", "fly"), newRing(t)))
	if a := w.register("alice", home, ""); a.Signed || a.Key != "" {
		t.Errorf("signed by an unknown key: %+v", a)
	}
}

// A card that everybody may see names no host that only some can reach.
func TestPrivateHostsAreForPartners(t *testing.T) {
	const at = "https://10.1.2.3/card.json"
	w := newWorld(t, "{strangers: public}")
	w.far.put(at, cardOf(at, "X", "fly"))
	w.refused("alice", at, 400, "private host")
	w.register("alice", at, "partner")

	w = newWorld(t, "{}")
	w.far.put(at, cardOf(at, "X", "fly"))
	w.register("alice", at, "")
}

// A card that changes what matters is marked, with what has changed, until it is registered again.
func TestDriftIsShown(t *testing.T) {
	one, two := newRing(t), newRing(t)
	w := newWorld(t, "{"+trust("", one, two)+"}")
	w.far.put(home, sign(t, cardOf(home, "X", "fly", "swim"), one))
	a := w.register("alice", home, "")

	same := cardOf(home, "X", "fly", "swim", "more")
	same.Description = "Other words"
	w.far.put(home, sign(t, same, one))
	w.refresh()
	if a = w.get("alice", a.ID); a.State != "current" || a.Description != "Other words" {
		t.Errorf("other words: %+v", a)
	}

	moved := cardOf(home, "X", "swim")
	moved.SupportedInterfaces = []*a2a.AgentInterface{{URL: "https://y.example/a2a", ProtocolBinding: a2a.TransportProtocolJSONRPC, ProtocolVersion: "1.0"}}
	w.far.put(home, sign(t, moved, two))
	w.refresh()
	a = w.get("alice", a.ID)

	what := fmt.Sprint(a.Changes)
	for _, want := range []string{"key: ", "skills: fly is gone", "skills: more is gone", "supportedInterfaces: JSONRPC is no longer where it was"} {
		if !strings.Contains(what, want) {
			t.Errorf("changes %s lack %q", what, want)
		}
	}
	if a.State != "drifted" || len(a.Changes) != 4 {
		t.Errorf("%+v", a)
	}

	w.refresh()
	if again := w.get("alice", a.ID); again.State != "drifted" || !again.Since.Equal(*a.Since) || len(again.Changes) != 4 {
		t.Errorf("an hour later: %+v", again)
	}
	if a = w.register("alice", home, ""); a.State != "current" || a.Changes != nil {
		t.Errorf("registered again: %+v", a)
	}
}

// A card that is no longer signed, or leads elsewhere, is forged: others do not see the agent, and the last
// good card stays. A good card ends that, and silence does not.
func TestForgedCardIsHidden(t *testing.T) {
	ring := newRing(t)
	w := newWorld(t, "{"+trust("", ring)+"}")
	good := sign(t, cardOf(home, "X", "fly"), ring)
	w.far.put(home, good)
	a := w.register("alice", home, "")

	w.far.put(home, cardOf(home, "Y", "steal"))
	w.refresh()
	w.far.serve(home, nil)
	w.refresh()
	if f := w.get("alice", a.ID); f.State != "forged" || f.Name != "X" || !strings.Contains(f.Why, "signed before") {
		t.Errorf("%+v", f)
	}
	if rec := w.ask(w, "carl", "GET", "/catalogue/agents/"+a.ID, ""); rec.Code != http.StatusNotFound {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	w.far.put(home, good)
	w.refresh()
	if f := w.get("carl", a.ID); f.State != "current" || !f.Signed {
		t.Errorf("%+v", f)
	}
}

// An agent that does not answer is down since then, and after a week expired: it is in no ordinary answer, and
// who registered it finds it by its state. When it answers again it is current.
func TestDownForAWeekIsExpired(t *testing.T) {
	w := newWorld(t, "{}")
	w.far.put(home, cardOf(home, "X", "fly"))
	a := w.register("alice", home, "")
	w.far.serve(home, nil)
	w.refresh()
	down := w.get("carl", a.ID)
	if down.State != "down" || down.Since.Sub(w.Now()) > 0 || down.Since.Before(*a.Since) {
		t.Errorf("%+v", down)
	}
	w.refresh()
	if again := w.get("carl", a.ID); again.State != "down" || !again.Since.Equal(*down.Since) {
		t.Errorf("%+v", again)
	}

	w.pass(7*24*time.Hour - 3*time.Hour)
	w.refresh()
	for caller, query := range map[string]string{"carl": "?state=expired", "pat": "", "alice": "", "ada": ""} {
		if l := read[door.List](w, 200, w.ask(w, caller, "GET", "/catalogue/agents"+query, "")); l.Total != 0 {
			t.Errorf("%s finds %+v", caller, l)
		}
	}
	if l := read[door.List](w, 200, w.ask(w, "alice", "GET", "/catalogue/agents?state=expired", "")); l.Total != 1 || l.Agents[0].State != "expired" {
		t.Errorf("who registered it finds %+v", l)
	}

	w.far.put(home, cardOf(home, "X", "fly"))
	w.refresh()
	if up := w.get("carl", a.ID); up.State != "current" {
		t.Errorf("%+v", up)
	}
}

// A card whose owner takes it back while it is being looked for stays withdrawn.
func TestRefreshBringsNothingBack(t *testing.T) {
	w := newWorld(t, "{}")
	w.far.put(home, cardOf(home, "X", "fly"))
	a := w.register("alice", home, "")
	w.far.serve(home, func(http.ResponseWriter, *http.Request) {
		if err := w.agents.Withdraw(t.Context(), w.agents.Viewer("alice"), a.ID); err != nil {
			t.Error(err)
		}
	})
	w.refresh()
	if rec := w.ask(w, "alice", "GET", "/catalogue/agents/"+a.ID, ""); rec.Code != http.StatusNotFound {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

// An owner has a share of the catalogue, and of the registrations at once. Others do not feel it.
func TestFloodOfOneStopsNoOther(t *testing.T) {
	w := newWorld(t, "{}")
	for i := range catalogue.MaxOwn {
		w.seed("alice", fmt.Sprintf("https://a.example/%d.json", i), "A", "fly")
	}
	w.far.put(home, cardOf(home, "X", "fly"))
	w.refused("alice", home, http.StatusTooManyRequests, "limit catalogue agents")
	w.register("bob", home, "")

	hangs, arrived := make(chan struct{}), make(chan struct{}, 100)
	w.far.serve("https://slow.example/a.json", func(_ http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-hangs
	})
	var wait sync.WaitGroup
	for range 16 {
		wait.Go(func() {
			w.ask(w, "alice", "POST", "/catalogue/agents", `{"url":"https://slow.example/a.json"}`)
		})
	}
	for range 16 {
		<-arrived
	}
	w.refused("alice", home, http.StatusTooManyRequests, "limit registrations")
	w.register("bob", home, "")
	close(hangs)
	wait.Wait()
}

// The agents of an owner that do not answer delay only that owner's.
func TestRefreshIsFair(t *testing.T) {
	w := newWorld(t, "{}")
	for i := range 40 {
		w.seed("alice", fmt.Sprintf("https://slow.example/%d.json", i), "A", "fly")
		w.far.serve(fmt.Sprintf("https://slow.example/%d.json", i), func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	}
	seen := make(chan struct{})
	w.far.put(home, cardOf(home, "X", "fly"))
	w.register("bob", home, "")
	w.far.serve(home, func(http.ResponseWriter, *http.Request) { close(seen) })
	w.pass(time.Hour)

	done := make(chan error, 1)
	go func() {
		_, err := w.agents.Refresh(t.Context())
		done <- err
	}()
	select {
	case <-seen: // while the first of alice's still waits
	case <-time.After(time.Minute):
		t.Error("the agent of bob waits for those of alice")
	}
	w.far.CloseClientConnections()
	w.far.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A process that died after it had stored an agent, and before it said so, hides it for ten minutes at most.
func TestAgentThatWasNotAnnouncedIsFound(t *testing.T) {
	w := newWorld(t, "{}")
	total := func() int {
		return read[door.List](w, 200, w.ask(w, "carl", "GET", "/catalogue/agents", "")).Total
	}
	if n := total(); n != 0 {
		t.Fatalf("%d agents", n)
	}
	w.seed("alice", home, "X", "fly")
	w.pass(10 * time.Minute)
	if n := total(); n != 1 {
		t.Errorf("%d agents", n)
	}
}

// More changes at once than the state names make a process read all.
func TestManyChangesAtOnce(t *testing.T) {
	conformance.NeedFull(t, "TestAgentFromRegistrationToWithdrawal, for few changes")
	w := newWorld(t, "{}")
	other, agents := w.process(w.far.client(), func(string) error { return nil })
	for i := range 600 {
		w.seed("alice", fmt.Sprintf("https://a.example/%d.json", i), "A", "fly")
	}
	total := func(state string) int {
		return read[door.List](w, 200, w.ask(other, "carl", "GET", "/catalogue/agents?state="+state, "")).Total
	}
	if n := total("current"); n != 600 {
		t.Fatalf("%d agents", n)
	}
	w.refresh() // none of them answers
	if n := total("down"); n != 600 {
		t.Errorf("%d agents are down for another process", n)
	}
	if n, err := agents.Refresh(t.Context()); n != 0 || err != nil {
		t.Errorf("another process looked for %d cards again, %v", n, err)
	}
}

// Unless the access file has a catalogue there is none.
func TestNoCatalogue(t *testing.T) {
	w := newWorld(t, "{}")
	access, keys := base.Access(t, "alice")
	w.Handler = door.New(door.Config{Catalogue: w.agents, Access: access, Log: w.Log})
	w.callers = keys
	before := w.reads.Load()
	for _, path := range []string{"/catalogue", "/catalogue/agents", "/.well-known/ai-catalog.json", "/catalogue/openapi.yaml"} {
		if rec := w.ask(w, "alice", "GET", path, ""); rec.Code != http.StatusNotFound {
			t.Errorf("%s is answered %d", path, rec.Code)
		}
	}
	off := catalogue.New(catalogue.Config{KV: counted{w.Store.KV(), &w.reads}, Client: w.far.client(), Policy: access, Now: w.Now, Log: w.Log})
	if n, err := off.Refresh(t.Context()); n != 0 || err != nil {
		t.Errorf("%d cards were looked for, %v", n, err)
	}
	if w.reads.Load() != before {
		t.Error("the store was read")
	}
}
