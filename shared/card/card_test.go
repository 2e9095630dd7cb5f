package card_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"errand/shared/agent"
	"errand/shared/card"
	lab "errand/shared/lab/agent"

	legacy "github.com/a2aproject/a2a-go/a2a"
	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2aclient/agentcard"
	"github.com/a2aproject/a2a-go/v2/a2acompat/a2av0"
	"github.com/google/go-cmp/cmp"
)

const base = "https://agent.example.com"

var modified = time.Date(2026, 3, 4, 5, 6, 7, 890, time.UTC)

// load is the agent of the tests.
func load(t testing.TB) *agent.Agent {
	t.Helper()
	a, err := agent.Parse(lab.Definition)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// handler serves the agent of the tests at base.
func handler(t testing.TB, base string) *card.Handler {
	t.Helper()
	h, err := card.New(card.Config{Agent: load(t), URL: base, Modified: modified})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// ask sends one request with the header lines given as name, value, ...
func ask(h http.Handler, method string, lines ...string) *http.Response {
	r := httptest.NewRequest(method, card.Path, nil)
	for i := 0; i < len(lines); i += 2 {
		r.Header.Add(lines[i], lines[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func text(t testing.TB, resp *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// Shows D2.
func TestCardIsReadByTheSDKClient(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle(card.Path, handler(t, ""))
	s := httptest.NewServer(mux)
	defer s.Close()
	got, err := agentcard.DefaultResolver.Resolve(t.Context(), s.URL)
	if err != nil {
		t.Fatal(err)
	}

	a := load(t)
	if got.Name != a.Name || got.Version != a.Version || len(got.Skills) != len(a.Skills) {
		t.Errorf("card = %+v, want that of %s", got, a.Name)
	}
	if got.Provider == nil || got.Provider.Org != a.Provider.Organization {
		t.Errorf("provider = %+v, want %+v", got.Provider, a.Provider)
	}

	want := []*a2a.AgentInterface{
		{URL: s.URL, ProtocolBinding: "JSONRPC", ProtocolVersion: "1.0"},
		{URL: s.URL, ProtocolBinding: "HTTP+JSON", ProtocolVersion: "1.0"},
		{URL: s.URL, ProtocolBinding: "JSONRPC", ProtocolVersion: "0.3"},
		{URL: s.URL, ProtocolBinding: "HTTP+JSON", ProtocolVersion: "0.3"},
	}
	if diff := cmp.Diff(want, got.SupportedInterfaces); diff != "" {
		t.Errorf("interfaces (-want +got):\n%s", diff)
	}
}

// Shows D4.
func TestRequiredFieldsAreNeverNullOrEmpty(t *testing.T) {
	bare := &agent.Agent{Skills: []agent.Skill{{}}} // Parse would never return this
	c, err := card.Derive(card.Config{Agent: bare, URL: base})
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := json.Marshal(c); err != nil || strings.Contains(string(raw), "null") {
		t.Errorf("card of an empty agent = %s, %v, want no null", raw, err)
	}

	resp := ask(handler(t, base), "GET")
	body := text(t, resp)
	if strings.Contains(body, "null") {
		t.Errorf("card has null: %s", body)
	}
	if got := resp.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("content type = %q, want application/json", got)
	}

	var fields map[string]any
	if err := json.Unmarshal([]byte(body), &fields); err != nil {
		t.Fatal(err)
	}

	for _, name := range []string{"name", "description", "version", "capabilities", "supportedInterfaces", "defaultInputModes", "defaultOutputModes", "skills"} {
		full(t, fields, name)
	}

	for _, skill := range fields["skills"].([]any) {
		for _, name := range []string{"id", "name", "description", "tags"} {
			full(t, skill.(map[string]any), name)
		}
	}

	for _, name := range []string{"url", "organization"} {
		full(t, fields["provider"].(map[string]any), name)
	}
}

// full checks that the field is there and not empty.
func full(t *testing.T, fields map[string]any, name string) {
	t.Helper()
	switch v := fields[name].(type) {
	case string:
		if v != "" {
			return
		}
	case []any:
		if len(v) > 0 {
			return
		}
	case map[string]any:
		if len(v) > 0 {
			return
		}
	}
	t.Errorf("%s = %v, want something", name, fields[name])
}

// Shows D5, D6.
func TestInterfaceIsDeclaredAtItsTrueAddress(t *testing.T) {
	for in, want := range map[string][2]string{ // JSON-RPC, HTTP+JSON
		base:                            {base, base},
		base + "/":                      {base, base},
		"https://example.com/agents/a":  {"https://example.com/agents/a/", "https://example.com/agents/a"},
		"https://example.com/agents/a/": {"https://example.com/agents/a/", "https://example.com/agents/a"},
		"http://[::1]:8080":             {"http://[::1]:8080", "http://[::1]:8080"},
	} {
		c, err := card.Derive(card.Config{Agent: load(t), URL: in})
		if err != nil {
			t.Errorf("Derive(%q) = %v", in, err)
			continue
		}

		for i, of := range c.SupportedInterfaces {
			if of.URL != want[i%2] {
				t.Errorf("Derive(%q): URL of %s = %q, want %q", in, of.ProtocolBinding, of.URL, want[i%2])
			}
		}
		if got := c.SupportedInterfaces[0].ProtocolVersion; got != "1.0" {
			t.Errorf("Derive(%q): protocol version = %q, want 1.0", in, got)
		}
	}

	for _, in := range []string{"", "agent.example.com", "//agent.example.com", "ftp://a.com", "https://", "https://:443", "https:a", "https://u:p@a.com", "https://a.com/?q", "https://a.com/#f", "https://a.com?", "https://a b", "https://a.com:x"} {
		if _, err := card.Derive(card.Config{Agent: load(t), URL: in}); err == nil {
			t.Errorf("Derive(%q) accepted the address", in)
		}
	}

	if _, err := card.New(card.Config{Agent: load(t), URL: "agent.example.com", Modified: modified}); err == nil {
		t.Error("New accepted an incomplete address")
	}
}

// Shows D6.
func TestAddressFollowsTheRequest(t *testing.T) {
	h := handler(t, "")
	for range 2 { // made, then kept
		for _, host := range []string{"127.0.0.1:8080", "localhost:9999", "[::1]:1"} {
			r := httptest.NewRequest("GET", card.Path, nil)
			r.Host = host
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if want := `"url":"http://` + host + `"`; !strings.Contains(w.Body.String(), want) {
				t.Errorf("card for %s = %s, want %s", host, w.Body, want)
			}
		}
	}
	for _, host := range []string{"", "a/b", "a?b", "a#b", "u@a", "a b", "a:b", ":80"} {
		r := httptest.NewRequest("GET", card.Path, nil)
		r.Host = host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusBadRequest {
			t.Errorf("GET with Host %q = %d, want 400", host, w.Code)
		}
	}
}

// A card with the address that the client named is kept by no cache, unless the listener has
// checked the name.
func TestCardOfAnyHostIsKeptByNoCache(t *testing.T) {
	for _, row := range []struct {
		url      string
		loopback bool
		want     string
	}{
		{"", false, "no-store"},
		{"", true, "public, max-age=300"},
		{base, false, "public, max-age=300"},
		{base, true, "public, max-age=300"},
	} {
		h, err := card.New(card.Config{Agent: load(t), URL: row.url, Loopback: row.loopback, Modified: modified})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second card is a kept one
			res := ask(h, "GET")
			if got := res.Header.Get("Cache-Control"); res.StatusCode != http.StatusOK || got != row.want {
				t.Errorf("URL %q, loopback %v: status %d, Cache-Control %q, want %q", row.url, row.loopback, res.StatusCode, got, row.want)
			}
		}
	}
}

// Shows D7.
func TestCardDeclaresTheCapabilitiesServed(t *testing.T) {
	c, err := card.Derive(card.Config{Agent: load(t), URL: base})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a2a.AgentCapabilities{Streaming: true, PushNotifications: true}, c.Capabilities); diff != "" {
		t.Errorf("capabilities (-want +got):\n%s", diff)
	}

	for _, want := range []a2a.AgentCapabilities{{}, {Streaming: true}, {PushNotifications: true}} {
		a := *load(t)
		a.Capabilities = agent.Capabilities{Streaming: want.Streaming, PushNotifications: want.PushNotifications}
		c, err := card.Derive(card.Config{Agent: &a, URL: base})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, c.Capabilities); diff != "" {
			t.Errorf("capabilities (-want +got):\n%s", diff)
		}
	}
}

// TestClientsRow16Card: the description tells the sizes of messages, which the card has no other
// place for.
func TestClientsRow16Card(t *testing.T) {
	plain, err := card.Derive(card.Config{Agent: load(t), URL: base})
	if err != nil {
		t.Fatal(err)
	}
	sized, err := card.Derive(card.Config{Agent: load(t), URL: base, MaxMessage: 512 << 10})
	if err != nil {
		t.Fatal(err)
	}
	want := plain.Description + " A message may have 512 KiB together with its task, and a file in it about 378 KiB: send the URL of a larger file."
	if plain.Description != strings.TrimSpace(load(t).Description) || sized.Description != want {
		t.Errorf("the description is %q, want %q", sized.Description, want)
	}
}

// Shows D8, D9, D10.
func TestCachingHeaders(t *testing.T) {
	h := handler(t, base)
	first := ask(h, "GET")
	want := map[string]string{
		"Cache-Control":               "public, max-age=300",
		"Last-Modified":               "Wed, 04 Mar 2026 05:06:07 GMT",
		"Access-Control-Allow-Origin": "*",
	}

	for name, value := range want {
		if got := first.Header.Get(name); got != value {
			t.Errorf("%s = %q, want %q", name, got, value)
		}
	}

	tag := first.Header.Get("ETag")
	if len(tag) < 10 || tag[0] != '"' || tag[len(tag)-1] != '"' {
		t.Errorf("ETag = %q, want a strong one", tag)
	}
	if got := ask(handler(t, base), "GET").Header.Get("ETag"); got != tag {
		t.Errorf("ETag of the same card = %q, then %q", tag, got)
	}
	if got := ask(handler(t, base+"/other"), "GET").Header.Get("ETag"); got == tag {
		t.Errorf("ETag of another card = %q, want another", got)
	}

	if got := first.Header.Get("Access-Control-Allow-Credentials"); got != "" {
		t.Errorf("credentials are allowed: %q", got)
	}
}

// Shows D11.
func TestConditionalRequests(t *testing.T) {
	h := handler(t, base)
	tag := ask(h, "GET").Header.Get("ETag")

	tests := []struct {
		what  string
		lines []string
		want  int
	}{
		{"no condition", nil, 200},
		{"the tag", []string{"If-None-Match", tag}, 304},
		{"the tag, weak", []string{"If-None-Match", "W/" + tag}, 304},
		{"any", []string{"If-None-Match", "*"}, 304},
		{"another", []string{"If-None-Match", `"x"`}, 200},
		{"unquoted", []string{"If-None-Match", strings.Trim(tag, `"`)}, 200},
		{"a list", []string{"If-None-Match", `"x", W/"y",` + tag}, 304},
		{"a list without", []string{"If-None-Match", `"x", "y,z"`}, 200},
		{"two lines", []string{"If-None-Match", `"x"`, "If-None-Match", tag}, 304},
		{"nonsense", []string{"If-None-Match", `,,"`}, 200},
		{"the second it changed", []string{"If-Modified-Since", "Wed, 04 Mar 2026 05:06:07 GMT"}, 304},
		{"later", []string{"If-Modified-Since", "Thu, 05 Mar 2026 00:00:00 GMT"}, 304},
		{"before", []string{"If-Modified-Since", "Wed, 04 Mar 2026 05:06:06 GMT"}, 200},
		{"no date", []string{"If-Modified-Since", "yesterday"}, 200},
		{"the tag decides alone", []string{"If-None-Match", `"x"`, "If-Modified-Since", "Thu, 05 Mar 2026 00:00:00 GMT"}, 200},
	}

	for _, tt := range tests {
		for _, method := range []string{"GET", "HEAD"} {
			resp := ask(h, method, tt.lines...)
			body := text(t, resp)
			if resp.StatusCode != tt.want {
				t.Errorf("%s with %s = %d, want %d", method, tt.what, resp.StatusCode, tt.want)
			}
			if (body != "") != (tt.want == 200 && method == "GET") {
				t.Errorf("%s with %s: body of %d bytes", method, tt.what, len(body))
			}
			if resp.Header.Get("ETag") != tag || resp.Header.Get("Cache-Control") == "" {
				t.Errorf("%s with %s: headers %v, want ETag and Cache-Control", method, tt.what, resp.Header)
			}
		}
	}
}

// Shows D11.
func TestHeadTellsTheLength(t *testing.T) {
	s := httptest.NewServer(handler(t, base))
	defer s.Close()
	plain := http.Client{Transport: &http.Transport{DisableCompression: true}} // or the transport hides the length
	full, err := plain.Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Body.Close()
	head, err := plain.Head(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer head.Body.Close()
	if n := int64(len(text(t, full))); head.ContentLength != n || full.ContentLength != n {
		t.Errorf("lengths: HEAD %d, GET %d, body %d, want the same", head.ContentLength, full.ContentLength, n)
	}
}

func TestOtherMethods(t *testing.T) {
	h := handler(t, base)
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH"} {
		resp := ask(h, method)
		if resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "GET, HEAD, OPTIONS" {
			t.Errorf("%s = %d, Allow %q, want 405 and the methods", method, resp.StatusCode, resp.Header.Get("Allow"))
		}
	}
	resp := ask(h, "OPTIONS", "Origin", "https://page.example", "Access-Control-Request-Method", "GET")
	if resp.StatusCode != http.StatusNoContent || resp.Header.Get("Access-Control-Allow-Origin") != "*" ||
		resp.Header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("OPTIONS = %d %v, want 204 for any origin without credentials", resp.StatusCode, resp.Header)
	}
}

// Shows D16.
func TestCardTellsNothingInternal(t *testing.T) {
	a := load(t)
	a.Instructions, a.Model, a.Tools = "CANARY", "CANARY", []string{"CANARY"}
	h, err := card.New(card.Config{Agent: a, URL: base, Modified: modified})
	if err != nil {
		t.Fatal(err)
	}
	if body := text(t, ask(h, "GET")); strings.Contains(body, "CANARY") {
		t.Errorf("card tells instructions, model or tools: %s", body)
	}
}

// One card serves the clients of both versions: clients of 0.3 read their fields beside the
// others, as the SDK's parser for them does.
//
// Shows D3, D27, decision 24.
func TestCardIsReadByClientsOf03(t *testing.T) {
	a := load(t)
	a.Extensions = []agent.Extension{{URI: "urn:x:y", Description: "d", Required: true}}
	h, err := card.New(card.Config{Agent: a, URL: base, Modified: modified})
	if err != nil {
		t.Fatal(err)
	}

	body := text(t, ask(h, "GET"))
	var old legacy.AgentCard
	if err := json.Unmarshal([]byte(body), &old); err != nil {
		t.Fatal(err)
	}
	if old.Name != a.Name || old.URL != base || old.PreferredTransport != "JSONRPC" || old.ProtocolVersion != "0.3" {
		t.Errorf("a client of 0.3 reads %+v", old)
	}

	ways := []legacy.AgentInterface{{URL: base, Transport: "JSONRPC"}, {URL: base, Transport: "HTTP+JSON"}}
	if diff := cmp.Diff(ways, old.AdditionalInterfaces); diff != "" {
		t.Errorf("interfaces of 0.3 (-want +got):\n%s", diff)
	}
	if e := old.Capabilities.Extensions; len(e) != 1 || e[0].URI != "urn:x:y" || !e[0].Required {
		t.Errorf("extensions of 0.3: %+v", e)
	}

	parsed, err := a2av0.NewAgentCardParser()([]byte(body))
	if err != nil || len(parsed.SupportedInterfaces) != 4 || !parsed.Capabilities.Streaming {
		t.Errorf("the SDK's parser for 0.3 reads %+v, %v", parsed, err)
	}
}
