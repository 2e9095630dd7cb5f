package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2aclient"
	"github.com/go-jose/go-jose/v4"

	"errand/shared/auth"
	"errand/shared/card"
	"errand/shared/keys"
	lab "errand/shared/lab/agent"
	"errand/shared/lab/conformance"
	"errand/shared/peer"
	"errand/shared/secret"
)

// get reads a path with an API key, or without one.
func (p *process) get(path, key string) (int, http.Header, []byte) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), "GET", p.url()+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("X-API-Key", key)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return res.StatusCode, res.Header, body
}

// genuine checks a card with the key set of the program, and returns what was signed.
func (p *process) genuine(doc []byte) (c a2a.AgentCard) {
	p.t.Helper()
	_, _, text := p.get("/.well-known/jwks.json", "")
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(text, &set); err != nil {
		p.t.Fatal(err)
	}
	believed, _, err := card.Verify(doc, set)
	if err != nil {
		p.t.Fatalf("%v: %s", err, doc)
	}
	if err := json.Unmarshal(believed, &c); err != nil {
		p.t.Fatal(err)
	}
	return c
}

// rpcCard is the card that a method of JSON-RPC answers a caller with.
func (p *process) rpcCard(method, key string) []byte {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), "POST", p.url(), strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"`+method+`","params":{}}`))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("X-API-Key", key)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct{ Result json.RawMessage }
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || len(answer.Result) == 0 {
		p.t.Fatalf("%s: %d, %v", method, res.StatusCode, err)
	}
	return answer.Result
}

func skillsOf(c a2a.AgentCard) (ids []string) {
	for _, s := range c.Skills {
		ids = append(ids, s.ID)
	}
	return ids
}

// Shows D12, D13, D15. Everybody reads the public card, and each caller an own one, with the
// private skills that the access file gives it. Both are signed.
func TestCardsOfCallers(t *testing.T) {
	t.Parallel()
	alice, aliceHash := auth.NewKey()
	bob, bobHash := auth.NewKey()
	dir := t.TempDir()
	access, definition := filepath.Join(dir, "access.yaml"), filepath.Join(dir, "agent.yaml")
	text := strings.Replace(string(lab.Definition), "skills:\n", `skills:
  - {id: ledger, name: Post to the ledger, description: Posts an entry., details: At most ten a day., tags: [money], private: true}
`, 1)
	for path, content := range map[string]string{
		access:     "principals: [{name: alice, keys: [" + aliceHash + "], privateSkills: [ledger]}, {name: bob, keys: [" + bobHash + "]}]",
		definition: text,
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := start(t, "ERRAND_ACCESS="+access, "ERRAND_AGENT="+definition)

	_, header, doc := p.get(card.Path, alice)
	public := p.genuine(doc)
	if slices.Contains(skillsOf(public), "ledger") || !public.Capabilities.ExtendedAgentCard || !strings.HasPrefix(header.Get("Cache-Control"), "public") {
		t.Errorf("the public card is %s, %v", doc, header)
	}

	for _, row := range []struct {
		key  string
		want bool
	}{{alice, true}, {bob, false}} {
		for _, path := range []string{"/extendedAgentCard", "/v1/card"} {
			status, header, doc := p.get(path, row.key)
			if status != http.StatusOK {
				t.Fatalf("%s: %d %s", path, status, doc)
			}
			own := p.genuine(doc)
			if slices.Contains(skillsOf(own), "ledger") != row.want || strings.Contains(string(doc), "ten a day") != row.want {
				t.Errorf("%s: %s", path, doc)
			}
			if header.Get("Cache-Control") != "private, max-age=300" || !strings.Contains(strings.Join(header.Values("Vary"), ","), "Authorization") {
				t.Errorf("%s may be kept: %v", path, header)
			}
		}
	}

	for _, method := range []string{"GetExtendedAgentCard", "agent/getAuthenticatedExtendedCard"} {
		own := p.genuine(p.rpcCard(method, alice))
		if !slices.Contains(skillsOf(own), "ledger") {
			t.Errorf("%s: %+v", method, own.Skills)
		}
	}
	if status, _, doc := p.get("/extendedAgentCard", ""); status != http.StatusUnauthorized || strings.Contains(string(doc), "ledger") {
		t.Errorf("a stranger gets %d %s", status, doc)
	}
}

// Shows D25. A card that is not for everybody is read by callers alone, or by nobody, and no
// shared cache keeps it.
func TestCardsThatAreNotForEverybody(t *testing.T) {
	t.Parallel()
	key, hash := auth.NewKey()
	for name, row := range map[string]struct {
		yaml            string
		stranger, known int
		cache           string
	}{
		"known":          {"card: known\n", http.StatusUnauthorized, http.StatusOK, "private, max-age=300"},
		"none":           {"card: none\n", http.StatusNotFound, http.StatusNotFound, ""},
		"other networks": {"cardFrom: [10.0.0.0/8]\n", http.StatusNotFound, http.StatusNotFound, ""},
		"this network":   {"cardFrom: [127.0.0.0/8]\n", http.StatusOK, http.StatusOK, "private, max-age=300"},

		"public, in word": {"card: public\n", http.StatusOK, http.StatusOK, "public, max-age=300"},
	} {
		t.Run(name, func(t *testing.T) {
			access := filepath.Join(t.TempDir(), "access.yaml")
			if err := os.WriteFile(access, []byte(row.yaml+"principals: [{name: a, keys: ["+hash+"]}]"), 0o600); err != nil {
				t.Fatal(err)
			}
			p := start(t, "ERRAND_ACCESS="+access)
			if status, _, doc := p.get(card.Path, ""); status != row.stranger {
				t.Errorf("a stranger gets %d %s", status, doc)
			}
			status, header, doc := p.get(card.OldPath, key)
			if status != row.known || status == http.StatusOK && header.Get("Cache-Control") != row.cache {
				t.Errorf("a caller gets %d %s %v", status, doc, header)
			}
		})
	}
}

// Shows D24. The card is a file that clients are given, and is looked at before.
func TestCardCommand(t *testing.T) {
	t.Parallel()
	signed, errs, code := invoke(t, "card", "-signed", "-url", "https://agent.example.com")
	if code != 0 || !strings.Contains(signed, `"signatures"`) || !strings.Contains(signed, "https://agent.example.com/.well-known/jwks.json"[8:24]) {
		t.Fatalf("%d %s %s", code, signed, errs)
	}
	plain, _, code := invoke(t, "card", "-url", "https://agent.example.com")
	if code != 0 || strings.Contains(plain, `"signatures"`) {
		t.Errorf("%d %s", code, plain)
	}

	file := filepath.Join(t.TempDir(), "card.json")
	for _, row := range []struct {
		doc  string
		args []string
		code int
		want string
	}{
		{signed, nil, 0, "no faults"},
		{strings.ReplaceAll(signed, "https://agent.example.com", "http://localhost:8080"), nil, 1, "supportedInterfaces[0].url: leads to a private host"},
		{strings.ReplaceAll(signed, "https://agent.example.com", "http://localhost:8080"), []string{"-private"}, 0, "no faults"},
	} {
		if err := os.WriteFile(file, []byte(row.doc), 0o600); err != nil {
			t.Fatal(err)
		}
		out, errs, code := invoke(t, slices.Concat([]string{"card", "lint", "-links=false"}, row.args, []string{file})...)
		if code != row.code || !strings.HasPrefix(out, row.want) {
			t.Errorf("%v: %d %s %s", row.args, code, out, errs)
		}
	}

	if out, errs, code := invoke(t, "card"); code != 1 || !strings.Contains(errs, "give it with -url") {
		t.Errorf("without an address: %d %s %s", code, out, errs)
	}
}

// At the start the log says what is wrong with the card, also with the part that only some see.
func TestCardIsLintedAtTheStart(t *testing.T) {
	t.Parallel()
	definition := filepath.Join(t.TempDir(), "agent.yaml")
	text := strings.Replace(string(lab.Definition), "skills:\n", `skills:
  - {id: ledger, name: Ledger, description: Posts., details: "the key is whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", tags: [money], private: true}
`, 1)
	if err := os.WriteFile(definition, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, "ERRAND_AGENT="+definition)
	if said := p.logged(); !strings.Contains(said, "the agent card has a fault") || !strings.Contains(said, "the secret of a webhook") || strings.Contains(said, "MfKQ9r8") {
		t.Errorf("the log says %s", said)
	}
	if said := start(t).logged(); strings.Contains(said, "has a fault") {
		t.Errorf("of a card without one it says %s", said)
	}
}

// Shows D17, D24. Clients find an agent by its address, by a file and in a catalogue, check the card
// with the key set that its operator gave, and call the agent: ours in Go, the JavaScript SDK with its own
// verifier, and Python with PyJWT. With another key they refuse the card.
func TestClientsFindTheAgent(t *testing.T) {
	t.Parallel()
	node, python := needJavaScript(t), needPyJWT(t)
	agent, other := start(t), start(t)
	dir := t.TempDir()
	save := func(name string, text []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	_, _, ring := agent.get(keys.Path, "")
	_, _, theirs := other.get(keys.Path, "")
	_, _, doc := agent.get(card.Path, "")
	mine, wrong, given := save("keys.json", ring), save("other.json", theirs), save("card.json", doc)

	key, hash := auth.NewKey()
	access := save("access.yaml", fmt.Appendf(nil, "catalogue: {require: signed, trust: [{jwks: '%s'}]}\nprincipals: [{name: a, keys: [%s], catalogue: [register]}]", bytes.TrimSpace(ring), hash))
	catalogue := start(t, "ERRAND_ACCESS="+access, "ERRAND_PUSH_ALLOW="+strings.TrimPrefix(agent.url(), "http://"))
	listed := save("listed.json", catalogue.register(key, agent.url()))

	for name, read := range map[string]peer.Reader{
		"address": peer.AtURL(agent.url(), http.DefaultClient, nil), "file": peer.InFile(given),
		"catalogue": peer.InCatalogue(catalogue.url(), url.Values{"q": {"probe"}}, http.DefaultClient, func(r *http.Request) error {
			r.Header.Set("X-API-Key", key)
			return nil
		}),
	} {
		if err := askPeer(t, peer.Config{Read: read, Keys: peer.KeysInFile(mine)}); err != nil {
			t.Errorf("Go, by %s: %v", name, err)
		}
		if err := askPeer(t, peer.Config{Read: read, Keys: peer.KeysInFile(wrong)}); !errors.Is(err, peer.ErrForged) {
			t.Errorf("Go, by %s, with another key: %v", name, err)
		}
	}

	for program, script := range map[string]string{node: "testdata/js/card.mjs", python: "testdata/python/card.py"} {
		for name, args := range map[string][]string{"address": {agent.url(), mine}, "file": {agent.url(), mine, given}, "catalogue": {agent.url(), mine, listed}} {
			out, err := exec.CommandContext(t.Context(), program, append([]string{script}, args...)...).CombinedOutput()
			if err != nil || strings.Count(string(out), "verified ") != 1 || !strings.Contains(string(out), "answered by a task") {
				t.Errorf("%s, by %s: %v\n%s", script, name, err, out)
			}
		}
		if out, err := exec.CommandContext(t.Context(), program, script, agent.url(), wrong).CombinedOutput(); err == nil || strings.Contains(string(out), "verified") {
			t.Errorf("%s, with another key: %v\n%s", script, err, out)
		}
	}
}

// register registers an agent in the program's catalogue, and returns its card as the catalogue shows it.
func (p *process) register(key, address string) []byte {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), "POST", p.url()+"/catalogue/agents", strings.NewReader(`{"url":"`+address+`"}`))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("X-API-Key", key)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	var shown struct {
		Signed bool
		Card   json.RawMessage
	}
	if err := json.NewDecoder(res.Body).Decode(&shown); err != nil || !shown.Signed {
		p.t.Fatalf("registered is %d, %+v, %v", res.StatusCode, shown, err)
	}
	return shown.Card
}

// askPeer sends a message to an agent, with a credential that its operator gave.
func askPeer(t *testing.T, c peer.Config) error {
	t.Helper()
	p := peer.New(c)
	k, err := p.Card(t.Context())
	if err != nil {
		return err
	}
	way, err := k.Interface()
	if err != nil {
		return err
	}
	source := secretsOf{"there": "a-key"}
	client, err := a2aclient.NewFromEndpoints(t.Context(), []*a2a.AgentInterface{way}, a2aclient.WithDefaultsDisabled(),
		a2aclient.WithJSONRPCTransport(&http.Client{Transport: p.Transport(peer.APIKey{Secrets: source, Ref: secret.Ref{Name: "there"}}, http.DefaultClient)}))
	if err != nil {
		return err
	}
	_, err = client.SendMessage(t.Context(), &a2a.SendMessageRequest{Message: a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart("hello"))})
	return err
}

type secretsOf map[string]string

func (s secretsOf) Get(_ context.Context, ref secret.Ref) (secret.Value, error) {
	return secret.NewValue([]byte(s[ref.Name]))
}

// needPyJWT is a Python that has PyJWT.
func needPyJWT(t *testing.T) string {
	t.Helper()
	python := ""
	for _, name := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(name, "-c", "import jwt, cryptography").Run() == nil {
			python = name
		}
	}
	conformance.Require(t, "python3-jwt", python != "", "install the packages python3-jwt and python3-cryptography, or pyjwt[crypto] with pip")
	return python
}

// The commands of docs/discovery.md do what the page says.
func TestCommandsOfTheDiscoveryDocument(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"sh", "curl"} {
		_, err := exec.LookPath(tool)
		conformance.Require(t, "shell", err == nil, "install "+tool)
	}
	program, err := programs["cardserver"]()
	if err != nil {
		t.Fatal(err)
	}
	document, err := os.ReadFile("../docs/discovery.md")
	if err != nil {
		t.Fatal(err)
	}

	p := start(t)
	script := "set -e\ngo() { shift 2; '" + program + "' \"$@\"; }\n"
	for _, m := range regexp.MustCompile("(?s)```sh [a-z]+\n(.*?)```").FindAllSubmatch(document, -1) {
		script += string(m[1])
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
	cmd.Dir, cmd.Env = t.TempDir(), append(os.Environ(), "AGENT="+p.url())
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "; signed by ") || !strings.HasSuffix(string(out), "no faults\n") {
		t.Errorf("%v\n%s", err, out)
	}
}
