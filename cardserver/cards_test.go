package main_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/go-jose/go-jose/v4"

	"errand/shared/auth"
	"errand/shared/card"
	"errand/shared/keys"
	lab "errand/shared/lab/agent"
	"errand/shared/lab/conformance"
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

// Shows D17. The JavaScript SDK finds the agent by its address and by a file, checks the card with its own
// verifier, and calls the agent; with another key it refuses the card. PyJWT checks the whole card.
func TestCardIsCheckedByOthers(t *testing.T) {
	t.Parallel()
	node := needJavaScript(t)
	p, other := start(t), start(t)
	dir := t.TempDir()
	mine, theirs, given := filepath.Join(dir, "keys.json"), filepath.Join(dir, "other.json"), filepath.Join(dir, "card.json")
	for path, from := range map[string]struct {
		p   *process
		url string
	}{mine: {p, keys.Path}, theirs: {other, keys.Path}, given: {p, card.Path}} {
		_, _, text := from.p.get(from.url, "")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}

	run := func(program string, args ...string) (string, error) {
		out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
		return string(out), err
	}
	for _, args := range [][]string{{p.url(), mine}, {p.url(), mine, given}} {
		if out, err := run(node, append([]string{"testdata/js/card.mjs"}, args...)...); err != nil || !strings.Contains(out, "verified ") || !strings.Contains(out, "answered by a task") {
			t.Errorf("card.mjs %q: %v\n%s", args, err, out)
		}
	}
	if out, err := run(node, "testdata/js/card.mjs", p.url(), theirs); err == nil || strings.Contains(out, "verified") {
		t.Errorf("with another key: %v\n%s", err, out)
	}

	python := ""
	for _, name := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(name, "-c", "import jwt, cryptography").Run() == nil {
			python = name
		}
	}
	conformance.Require(t, "python3-jwt", python != "", "install the packages python3-jwt and python3-cryptography, or pyjwt[crypto] with pip")
	if out, err := run(python, "testdata/python/card.py", p.url(), mine); err != nil || strings.Count(out, "verified ") != 1 {
		t.Errorf("card.py: %v\n%s", err, out)
	}
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
