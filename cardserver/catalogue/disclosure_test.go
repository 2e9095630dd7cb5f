package catalogue_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	door "errand/cardserver/catalogue"
	"errand/shared/auth"
	"errand/shared/catalogue"
	base "errand/shared/lab/world"
)

// shown are the agents of the matrix, and to whom each is shown, and how much of it: b brief,
// u usual, f full.
var shown = map[string]map[string]string{
	"Public":   {"": "b", "alice": "f", "bob": "u", "carl": "u", "pat": "u", "ada": "f"},
	"Internal": {"alice": "f", "pat": "u", "ada": "f"},
	"Bobs":     {"": "b", "alice": "u", "bob": "f", "carl": "u", "pat": "u", "ada": "f"},
	"Partners": {"bob": "f", "pat": "u", "ada": "f"},
	"Liar":     {"alice": "f", "ada": "f"}, // its card is forged
}

// matrix registers the agents.
func matrix(t *testing.T, settings string) (w *world, ids map[string]string) {
	ring := newRing(t)
	w, ids = newWorld(t, "{"+settings+", "+trust("signed.example", ring)+"}"), map[string]string{}
	add := func(owner, name, host, reach string, skills ...string) {
		at := "https://" + host + "/" + strings.ToLower(name) + ".json"
		c := cardOf(at, name, skills...)
		c.Capabilities.Streaming = name == "Public" || name == "Internal"
		if host == "signed.example" {
			sign(t, c, ring)
		}
		w.far.put(at, c)
		ids[name] = w.register(owner, at, reach).ID
	}
	add("alice", "Public", "signed.example", "public", "fly", "swim")
	add("alice", "Internal", "in.example", "partner", "fly", "payroll")
	add("bob", "Bobs", "bob.example", "public", "swim")
	add("bob", "Partners", "bob.example", "partner", "payroll")
	add("alice", "Liar", "signed.example", "public", "fly")
	w.far.put("https://signed.example/liar.json", cardOf("https://signed.example", "Liar", "fly"))
	w.refresh()
	return w, ids
}

// queries ask for everything that an agent has, by each parameter, and for nothing.
var queries = []string{
	"", "skill=fly", "skill=skill+payroll", "skill=none", "tag=TAG-fly", "tag=tag-payroll", "provider=org+of+bob.example",
	"capability=streaming", "capability=pushNotifications", "mode=text/plain", "q=fly", "q=payroll", "q=does+well", "q=alice", "q=bob",
	"q=partners+swim", "q=in.example", "state=current", "state=forged", "state=down", "skill=fly&capability=streaming", "q=signed.example&tag=tag-swim",
}

// Shows D22, D23.
//
// A caller finds what a look through all that it is shown finds, with the same total on every page, and
// nothing that it is not shown takes part.
func TestDisclosure(t *testing.T) {
	w, ids := matrix(t, "strangers: public")
	for _, caller := range append(sorted(parts), "") {
		var all []door.Agent
		for name, id := range ids {
			rec := w.ask(w, caller, "GET", "/catalogue/agents/"+id, "")
			if shown[name][caller] == "" {
				if rec.Code != http.StatusNotFound {
					t.Errorf("%q is shown %s: %d", caller, name, rec.Code)
				}
				continue
			}
			a := read[door.Agent](w, http.StatusOK, rec)
			if how := howMuch(a); how != shown[name][caller] {
				t.Errorf("%q is shown of %s %q, want %q: %+v", caller, name, how, shown[name][caller], a)
			}
			all = append(all, a)
		}

		for _, q := range queries {
			values, err := url.ParseQuery(q)
			if err != nil {
				t.Fatal(err)
			}
			want := namesOf(slices.DeleteFunc(slices.Clone(all), func(a door.Agent) bool { return !wanted(values, a) }))
			got := w.pages(caller, q, len(want))
			if !slices.Equal(got, want) {
				t.Errorf("%q finds by %q %q, want %q", caller, q, got, want)
			}
		}
	}
}

// howMuch is how much of an agent an answer has.
func howMuch(a door.Agent) string {
	brief := a.State == "" && a.Since == nil && a.Skills == nil && a.Capabilities == nil && a.Modes == nil && a.Card == nil
	full := a.Owner != "" && a.For != "" && a.Seen != nil && a.Checked != nil
	some := a.Owner != "" || a.For != "" || a.Seen != nil || a.Checked != nil || a.Key != "" || a.Why != "" || a.Changes != nil
	switch {
	case full && !brief:
		return "f"
	case !some && brief:
		return "b"
	case !some && a.State != "" && a.Card != nil && len(a.Skills) > 0:
		return "u"
	}
	return "?"
}

// wanted decides by what an answer has, and by nothing else, whether a query wants it.
func wanted(q url.Values, a door.Agent) bool {
	same := func(list []string, want string) bool {
		return slices.ContainsFunc(list, func(s string) bool { return strings.EqualFold(s, want) })
	}
	var skills, texts []string
	for _, s := range a.Skills {
		skills = append(skills, s.ID, s.Name)
		texts = append(texts, s.Description)
	}
	texts = append(append(texts, skills...), append(a.Tags, a.Name, a.Description, a.Version, a.URL, a.Owner, a.Key)...)
	provider := ""
	if a.Provider != nil {
		provider = a.Provider.Organization
	}

	for name, values := range q {
		v := values[0]
		switch {
		case name == "skill" && !same(skills, v), name == "tag" && !same(a.Tags, v), name == "provider" && !strings.EqualFold(provider, v),
			name == "capability" && !same(a.Capabilities, v), name == "mode" && !same(a.Modes, v), name == "state" && a.State != v:
			return false
		}
		if name != "q" {
			continue
		}
		for word := range strings.FieldsSeq(v) {
			if !slices.ContainsFunc(append(texts, provider), func(s string) bool { return strings.Contains(strings.ToLower(s), word) }) {
				return false
			}
		}
	}
	return q.Has("state") || a.State != "forged" && a.State != "expired"
}

// pages are the names that a caller finds, page by page. Every page must have the total.
func (w *world) pages(caller, query string, total int) (names []string) {
	w.t.Helper()
	var all []door.Agent
	token, ids := "", map[string]bool{}
	for {
		l := read[door.List](w, http.StatusOK, w.ask(w, caller, "GET", "/catalogue/agents?pageSize=1&"+query+token, ""))
		if l.Total != total || len(l.Agents) > 1 || len(l.Agents) == 0 && total > 0 {
			w.t.Errorf("%q has by %q a page of %d and a total of %d, want %d", caller, query, len(l.Agents), l.Total, total)
		}
		for _, a := range l.Agents {
			if ids[a.ID] {
				w.t.Fatalf("%s stands in the list twice", a.Name)
			}
			ids[a.ID] = true
		}
		all = append(all, l.Agents...)
		if l.Next == "" {
			return namesOf(all)
		}
		token = "&pageToken=" + l.Next
	}
}

// The page for people and the AI Catalog have what their readers are shown.
func TestDisclosureOfOtherForms(t *testing.T) {
	w, _ := matrix(t, "strangers: public")
	for _, caller := range append(sorted(parts), "") {
		body := w.ask(w, caller, "GET", "/catalogue", "").Body.String()
		for name := range shown {
			has, want := strings.Contains(body, "<b>"+name+"</b>"), shown[name][caller] != "" && name != "Liar"
			if has != want {
				t.Errorf("the page of %q has %s: %v", caller, name, has)
			}
		}

		var doc struct {
			SpecVersion string
			Entries     []struct{ Identifier, Type, URL string }
		}
		rec := w.ask(w, caller, "GET", "/.well-known/ai-catalog.json", "")
		if err := json.Unmarshal(rec.Body.Bytes(), &doc); err != nil || doc.SpecVersion != "0.9" || rec.Header().Get("Content-Type") != "application/ai-catalog+json" {
			t.Fatalf("%d %s", rec.Code, rec.Body)
		}
		if len(doc.Entries) != 2 || doc.Entries[0].URL != "https://bob.example/bobs.json" || doc.Entries[1].URL != "https://signed.example/public.json" ||
			doc.Entries[0].Type != "application/a2a-agent-card+json" {
			t.Errorf("the AI Catalog for %q is %+v", caller, doc)
		}
	}
}

// Strangers see nothing by default, and nothing is looked up for a caller before it is known.
func TestNoLookUpBeforeTheCallerIsKnown(t *testing.T) {
	w := newWorld(t, "{}")
	before := w.reads.Load()
	paths := strings.NewReplacer("{agent}", strings.Repeat("a", 32))
	for _, route := range door.Routes() {
		method, path, _ := strings.Cut(paths.Replace(route), " ")
		for _, key := range []string{"", "ek_wrong", "wrong"} {
			r := httptest.NewRequest(method, path, nil)
			if key != "" {
				r.Header.Set("X-API-Key", key)
			}
			rec := httptest.NewRecorder()
			w.ServeHTTP(rec, r)
			if rec.Code != http.StatusUnauthorized && rec.Code != http.StatusTooManyRequests || strings.Contains(rec.Body.String(), "agents\":") {
				t.Errorf("%s with the key %q is answered %d %s", route, key, rec.Code, rec.Body)
			}
		}
	}
	if n := w.reads.Load() - before; n != 0 {
		t.Errorf("%d reads of the store for callers who are not known", n)
	}
}

// Wrong credentials are refused even where callers without any see something.
func TestWrongCredentialsAreNoStranger(t *testing.T) {
	w := newWorld(t, "{strangers: public}")
	r := httptest.NewRequest("GET", "/catalogue/agents", nil)
	r.Header.Set("X-API-Key", "wrong")
	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, r)
	if rec.Code != http.StatusUnauthorized {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

// A page token belongs to its caller and its query.
func TestPageTokenIsBound(t *testing.T) {
	w, _ := matrix(t, "strangers: public")
	l := read[door.List](w, http.StatusOK, w.ask(w, "ada", "GET", "/catalogue/agents?pageSize=1", ""))
	for caller, path := range map[string]string{"pat": "?pageToken=", "ada": "?tag=tag-fly&pageToken=", "": "?pageToken="} {
		if rec := w.ask(w, caller, "GET", "/catalogue/agents"+path+l.Next, ""); rec.Code != http.StatusBadRequest {
			t.Errorf("%q with the token of ada: %d %s", caller, rec.Code, rec.Body)
		}
	}
}

// A query that cannot be meant is refused, and its parameter named.
func TestQueriesThatCannotBeMeant(t *testing.T) {
	w, _ := matrix(t, "strangers: public")
	for _, query := range []string{"state=up", "pageSize=0", "pageSize=101", "pageSize=x", "pageToken=x", "skill=a&skill=b", "color=red", "q=" + strings.Repeat("x", 501)} {
		name, _, _ := strings.Cut(query, "=")
		for _, path := range []string{"/catalogue/agents?", "/catalogue?"} {
			if rec := w.ask(w, "ada", "GET", path+query, ""); rec.Code != http.StatusBadRequest || !strings.Contains(rec.Body.String(), name) {
				t.Errorf("%s%.40s: %d %s", path, query, rec.Code, rec.Body)
			}
		}
	}
}

func TestEveryOperationNeedsOneRight(t *testing.T) {
	routes := door.Routes()
	base.OneRight(t, routes, door.RightOf, strings.NewReplacer("{agent}", strings.Repeat("a", 32)), func(a *auth.Access) http.Handler {
		w := newWorld(t, "{}")
		return door.Inner(door.Config{Catalogue: w.agents, Access: a, Log: w.Log})
	})
}

// Ten thousand cards: the time of a query is reported.
func BenchmarkQueryOf10000(b *testing.B) {
	w := newWorld(b, "{}")
	for i := range 10 {
		owner := fmt.Sprintf("owner%d", i)
		for k := range 1000 {
			w.seed(owner, fmt.Sprintf("https://h%d.example/%d.json", i, k), fmt.Sprintf("Agent %d-%d", i, k), fmt.Sprintf("s%d", k%50), "common")
		}
	}
	v := w.agents.Viewer("carl")
	find := func(q catalogue.Query) time.Duration {
		began := time.Now()
		if _, total, _, err := w.agents.Find(b.Context(), v, q, "", 20); err != nil || total == 0 {
			b.Fatalf("%d found, %v", total, err)
		}
		return time.Since(began)
	}
	find(catalogue.Query{}) // reads all

	all := []catalogue.Query{{Skill: "s7"}, {Tag: "tag-common"}, {Text: "does s3 well"}, {Mode: "text/plain"}, {Provider: "Org of h3.example", Text: "agent"}}
	var took []time.Duration
	for n := 0; b.Loop(); n++ {
		took = append(took, find(all[n%len(all)]))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}
