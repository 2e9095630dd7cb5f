package catalogue_test

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	door "errand/cardserver/catalogue"
	"errand/shared/auth"
)

func TestDescriptionHasTheOperations(t *testing.T) {
	w := newWorld(t, "{}")
	routes := door.Routes()
	slices.Sort(routes)
	if got := w.described.Operations(); !slices.Equal(got, routes) {
		t.Errorf("described are %q, want %q", got, routes)
	}
}

// An agent is registered, found, read and withdrawn; another process on the same store sees each of
// these a second later.
func TestAgentFromRegistrationToWithdrawal(t *testing.T) {
	w := newWorld(t, "{}")
	other, _ := w.process(w.far.client(), func(string) error { return nil })
	list := func() door.List {
		return read[door.List](w, 200, w.ask(other, "carl", "GET", "/catalogue/agents?skill=fly", ""))
	}
	if l := list(); l.Total != 0 {
		t.Fatalf("an empty catalogue has %+v", l)
	}

	const at = "https://birds.example/.well-known/agent-card.json"
	w.far.put(at, cardOf(at, "Birds", "fly"))
	a := w.register("alice", "https://birds.example/", "")
	if a.URL != at || a.Host != "birds.example" || a.Signed || a.State != "current" || a.Owner != "alice" || a.For != "public" || len(a.Card) == 0 {
		t.Errorf("registered is %+v", a)
	}
	w.pass(1e9)
	l := list()
	if l.Total != 1 || l.Agents[0].ID != a.ID || l.Agents[0].Owner != "" || l.Agents[0].Card != nil || l.Agents[0].Skills[0].ID != "fly" {
		t.Errorf("another process lists %+v", l)
	}
	if again := w.register("alice", at, ""); again.ID != a.ID {
		t.Errorf("registered again it is %s, was %s", again.ID, a.ID)
	}

	for caller, status := range map[string]int{"bob": 403, "": 401, "alice": 204} {
		if status == 204 {
			continue
		}
		if rec := w.ask(w, caller, "DELETE", "/catalogue/agents/"+a.ID, ""); rec.Code != status {
			t.Errorf("withdrawn by %q: %d %s", caller, rec.Code, rec.Body)
		}
	}
	if rec := w.ask(w, "alice", "DELETE", "/catalogue/agents/"+a.ID, ""); rec.Code != http.StatusNoContent {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	w.pass(1e9)
	if l := list(); l.Total != 0 {
		t.Errorf("after the withdrawal another process lists %+v", l)
	}
	if rec := w.ask(other, "carl", "GET", "/catalogue/agents/"+a.ID, ""); rec.Code != http.StatusNotFound {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

// Without the right nobody registers, and the address is not even read.
func TestRegistrationNeedsTheRight(t *testing.T) {
	w := newWorld(t, "{strangers: public}")
	w.far.serve("https://x.example/a.json", func(http.ResponseWriter, *http.Request) { t.Error("the card was read") })
	for _, caller := range []string{"", "carl", "pat", "ada"} {
		w.refused(caller, "https://x.example/a.json", 403, "catalogue: [register]")
	}
}

func TestPageForPeople(t *testing.T) {
	w := newWorld(t, "{strangers: public}")
	w.far.put("https://x.example/a.json", cardOf("https://x.example", "<script>Birds", "fly"))
	w.register("alice", "https://x.example/a.json", "")
	rec := w.ask(w, "", "GET", "/catalogue?q=birds&skill=", "")
	body := rec.Body.String()
	if rec.Code != 200 || !strings.Contains(body, "&lt;script&gt;Birds") || !strings.Contains(body, "1 found") || strings.Contains(body, "<script") {
		t.Errorf("%d %s", rec.Code, body)
	}
	if p := rec.Header().Get("Content-Security-Policy"); !strings.Contains(p, "default-src 'none'") {
		t.Errorf("its policy is %q", p)
	}
}

// The example of the document is an access file.
func TestExampleOfTheDocument(t *testing.T) {
	document, err := os.ReadFile("../../docs/catalogue.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```yaml access\n(.*?)```").FindSubmatch(document)
	path := filepath.Join(t.TempDir(), "access.yaml")
	if err := os.WriteFile(path, m[1], 0o600); err != nil {
		t.Fatal(err)
	}
	access, err := auth.Load(path, auth.Options{})
	if err != nil {
		t.Fatal(err)
	}
	said := access.Catalogue()
	own, has := said.Keys("agents.acme.example")
	if _, other := said.Keys("acme.example"); !said.On || !said.Public || !said.Signed || !has || len(own.Keys) != 1 || other || !access.Part("acme/ci").Register {
		t.Errorf("it says %+v", said)
	}
}
