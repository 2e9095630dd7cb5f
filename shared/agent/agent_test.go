package agent_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"errand/shared/agent"

	"github.com/google/go-cmp/cmp"
)

// minimal is the least that is accepted.
const minimal = `name: A
description: Does a thing.
version: 1.10
model: gemini-3.6-flash
skills:
  - id: s
    name: S
    description: Does it.
    tags: [t]
`

// Without a path the definition is the one that is given.
func TestLoadEmbedded(t *testing.T) {
	if a, err := agent.Load("", []byte(minimal)); err != nil || a.Name != "A" {
		t.Errorf("Load = %v, %v, want agent A", a, err)
	}
	if _, err := agent.Load("", []byte("name: A\n")); err == nil || !strings.Contains(err.Error(), "the embedded agent.yaml:\ndescription: is required") {
		t.Errorf("Load of half a definition = %v", err)
	}
}

func TestParseFillsDefaults(t *testing.T) {
	got, err := agent.Parse([]byte(minimal))
	if err != nil {
		t.Fatal(err)
	}
	want := &agent.Agent{
		Name: "A", Description: "Does a thing.", Version: "1.10", Model: "gemini-3.6-flash",
		InputModes: []string{"text/plain"}, OutputModes: []string{"text/plain"},
		Skills:       []agent.Skill{{ID: "s", Name: "S", Description: "Does it.", Tags: []string{"t"}}},
		Capabilities: agent.Capabilities{Streaming: true, PushNotifications: true},
		Limits:       agent.Limits{Steps: 16, TurnTokens: 1_000_000, OutputTokens: 16_384, ThoughtTokens: 32_768, RunMinutes: 29},
		Conversation: agent.Conversation{Tokens: 250_000, Tasks: 20, Tools: agent.ToolsAll},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Parse (-want +got):\n%s", diff)
	}
}

func TestParseReadsEveryKey(t *testing.T) {
	got, err := agent.Parse([]byte(minimal + `    examples: ["  do it "]
    inputModes: [text/plain, image/png]
    outputModes: [application/json]
documentationUrl: https://example.com/docs
iconUrl: https://example.com/icon.png
provider: {organization: Org, url: "https://example.com"}
instructions: |
  One.
  Two.
inputModes: [text/markdown, image/*, '*/*']
outputModes: [text/html]
capabilities: {streaming: false}
extensions: [{uri: "https://example.com/ext/v1", description: d, required: true}, {uri: "urn:x:y"}]
tools: [time, look_up]
limits: {steps: 1, turnTokens: 100, runMinutes: 5}
conversation: {tokens: 7, tasks: 3, tools: effects}
prices: {currency: USD, input: 0.30, output: 2.50, thought: 3, cached: "0.03", models: [{model: m, input: 1, output: 2, thought: 3, cached: 4}]}
`))
	if err != nil {
		t.Fatal(err)
	}

	want := &agent.Agent{
		Name: "A", Description: "Does a thing.", Version: "1.10", Model: "gemini-3.6-flash",
		DocumentationURL: "https://example.com/docs", IconURL: "https://example.com/icon.png",
		Provider:     &agent.Provider{Organization: "Org", URL: "https://example.com"},
		Instructions: "One.\nTwo.",
		InputModes:   []string{"text/markdown", "image/*", "*/*"}, OutputModes: []string{"text/html"},
		Skills: []agent.Skill{{
			ID: "s", Name: "S", Description: "Does it.", Tags: []string{"t"}, Examples: []string{"do it"},
			InputModes: []string{"text/plain", "image/png"}, OutputModes: []string{"application/json"},
		}},
		Capabilities: agent.Capabilities{PushNotifications: true},
		Extensions: []agent.Extension{
			{URI: "https://example.com/ext/v1", Description: "d", Required: true}, {URI: "urn:x:y"},
		},
		Tools:        []string{"time", "look_up"},
		Limits:       agent.Limits{Steps: 1, TurnTokens: 100, OutputTokens: 100, ThoughtTokens: 100, RunMinutes: 5},
		Conversation: agent.Conversation{Tokens: 7, Tasks: 3, Tools: agent.ToolsEffects},
		Prices: &agent.Prices{
			Currency: "USD", Input: "0.30", Output: "2.50", Thought: "3", Cached: "0.03",
			Models: []agent.ModelPrices{{Model: "m", Input: "1", Output: "2", Thought: "3", Cached: "4"}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Parse (-want +got):\n%s", diff)
	}
}

func TestParseRefuses(t *testing.T) {
	// old -> new is a change of minimal; new alone is appended to it.
	tests := []struct{ what, old, new, want string }{
		{"a slip in a key", "", "instuctions: x", `line 10: instuctions: unknown key; did you mean "instructions"?`},
		{"another spelling", "", "input_modes: [a/b]", `did you mean "inputModes"?`},
		{"an unknown key", "", "zzzzzz: 1", "known here: name, description"},
		{"a nested key", "    tags: [t]", "    tag: [t]", `line 9: skills[0].tag: unknown key; did you mean "tags"?`},
		{"a secret", "", "apiKey: hunter2", "holds no secrets"},
		{"an API key", "", "instructions: use AIzaSyA0123456789012345678901234567890_", "line 10: instructions: holds an API key"},
		{"a key twice", "", "name: B", "line 10: name: stands here a second time"},
		{"a list as key", "", "? [a]\n: b", "a key must be a plain word"},
		{"a mapping for a text", "name: A", "name: {a: b}", "line 1: name: must be a text"},
		{"a text for a list", "    tags: [t]", "    tags: t", "line 9: skills[0].tags: must be a list"},
		{"a text for a mapping", "", "provider: Org", "line 10: provider: must be a mapping with the keys organization, url"},
		{"a text for a number", "", "limits: {steps: many}", "line 10: limits.steps: must be a whole number"},
		{"a fraction for a number", "", "limits: {steps: 1.5}", "limits.steps: must be a whole number"},
		{"a huge number", "", "limits: {steps: 99999999999999999999}", "limits.steps: must be a whole number"},
		{"no steps", "", "limits: {steps: 0}", "limits.steps: is 0: choose a number from 1 to 256"},
		{"too many steps", "", "limits: {steps: 257}", "from 1 to 256"},
		{"negative tokens", "", "limits: {turnTokens: -1}", "limits.turnTokens: is -1"},
		{"more output than tokens", "", "limits: {turnTokens: 10, outputTokens: 11}", "limits.outputTokens: is 11: choose a number from 1 to 10"},
		{"more thoughts than tokens", "", "limits: {turnTokens: 10, thoughtTokens: 11}", "limits.thoughtTokens: is 11: choose a number from 0 to 10"},
		{"negative thoughts", "", "limits: {thoughtTokens: -1}", "limits.thoughtTokens: is -1"},
		{"a run longer than queues wait", "", "limits: {runMinutes: 30}", "limits.runMinutes: is 30: choose a number from 3 to 29"},
		{"the key of before", "", "limits: {historyMessages: 50}", "line 10: limits.historyMessages: unknown key; conversation.tokens and conversation.tasks have taken its place"},
		{"too many earlier tokens", "", "limits: {turnTokens: 2000000}\nconversation: {tokens: 1048577}", "line 11: conversation.tokens: is 1048577: choose a number from 0 to 1048576"},
		{"more earlier tokens than tokens", "", "limits: {turnTokens: 10}\nconversation: {tokens: 11}", "conversation.tokens: is 11: choose a number from 0 to 10"},
		{"negative tokens of the conversation", "", "conversation: {tokens: -1}", "conversation.tokens: is -1"},
		{"too many earlier tasks", "", "conversation: {tasks: 100}", "conversation.tasks: is 100: choose a number from 0 to 99"},
		{"other tools", "", "conversation: {tools: some}", `conversation.tools: is "some": choose all or effects`},
		{"an alias", "", "instructions: &a x\ntools: [*a]", "line 11: tools[0]: aliases are not supported"},
		{"an alias of itself", "", "tools: &a [*a]", "line 10: tools[0]: aliases are not supported"},
		{"a merge", "", "<<: {model: m}", "unknown key"},
		{"a tag", "name: A", "name: !!binary QQ==", "a tag is not supported"},
		{"two documents", "", "---\nname: B", "one YAML document"},
		{"broken YAML", "", "a: [", "not valid YAML"},
		{"no name", "name: A\n", "", "name: is required"},
		{"a null name", "name: A", "name:", "line 1: name: is required"},
		{"a blank name", "name: A", `name: " "`, "name: is required"},
		{"a name of two lines", "name: A", `name: "a\nb"`, "name: must be one line"},
		{"no description", "description: Does a thing.\n", "", "description: is required"},
		{"no version", "version: 1.10\n", "", "version: is required"},
		{"no model", "model: gemini-3.6-flash\n", "", "model: is required"},
		{"a model with a space", "model: gemini-3.6-flash", "model: gemini flash", "model: must not contain spaces"},
		{"an escape in the instructions", "", `instructions: "a\eb"`, "instructions: must not contain control characters"},
		{"half a provider", "", "provider: {organization: Org}", "line 10: provider.url: is required"},
		{"the other half", "", "provider: {url: 'https://example.com'}", "provider.organization: is required"},
		{"a provider's bad address", "", "provider: {organization: O, url: example.com}", "provider.url: must be a complete address"},
		{"another scheme", "", "iconUrl: 'javascript:alert(1)'", "iconUrl: must be a complete address"},
		{"a password in an address", "", "documentationUrl: 'https://a:b@example.com'", "documentationUrl: must be a complete address"},
		{"no skills", "skills:\n  - id: s\n    name: S\n    description: Does it.\n    tags: [t]\n", "skills: []\n", "skills: at least one is required"},
		{"a skill without id", "  - id: s\n    name", "  - name", "line 6: skills[0].id: is required"},
		{"a skill without name", "    name: S\n", "", "skills[0].name: is required"},
		{"a skill without description", "    description: Does it.\n", "", "skills[0].description: is required"},
		{"a skill without tags", "    tags: [t]\n", "", "skills[0].tags: at least one is required"},
		{"an empty tag", "    tags: [t]", "    tags: [t, '']", "skills[0].tags[1]: is required"},
		{"an id twice", "", "  - {id: s, name: T, description: d, tags: [t]}", `line 10: skills[1].id: "s" is already the id of skills[0]`},
		{"an empty example", "", "    examples: ['']", "skills[0].examples[0]: is required"},
		{"a mode that is none", "", "inputModes: [text]", `inputModes[0]: "text" is not a media type`},
		{"a range that is written", "", "outputModes: ['*/*']", `outputModes[0]: "*/*" is not a media type`},
		{"a range that is none", "", "inputModes: ['*/png']", `"*/png" is not a media type: write one in lower case and without parameters, such as text/plain, image/* or */*`},
		{"a mode with parameters", "", "outputModes: ['text/plain; charset=utf-8']", "not a media type"},
		{"a mode in upper case", "", "    inputModes: [Text/Plain]", "skills[0].inputModes[0]"},
		{"a mode twice", "", "inputModes: [a/b, a/b]", `inputModes[1]: "a/b" stands in the list twice`},
		{"an extension without URI", "", "extensions: [{required: true}]", "line 10: extensions[0].uri: must be an absolute URI"},
		{"an extension with a comma", "", "extensions: [{uri: 'urn:a,b'}]", "extensions[0].uri: must be an absolute URI"},
		{"an extension twice", "", "extensions: [{uri: 'urn:a'}, {uri: 'urn:a'}]", `extensions[1]: "urn:a" stands in the list twice`},
		{"a text for a truth value", "", "extensions: [{uri: 'urn:a', required: maybe}]", "extensions[0].required: must be true or false"},
		{"a capability that is neither on nor off", "", "capabilities: {streaming: maybe}", "capabilities.streaming: must be true or false"},
		{"an unknown capability", "", "capabilities: {push: false}", "capabilities.push: unknown key; known here: streaming, pushNotifications"},
		{"a tool with a space", "", "tools: ['rm -rf']", "tools[0]: is not the name of a tool"},
		{"a tool twice", "", "tools: [time, time]", `tools[1]: "time" stands in the list twice`},
	}

	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			in := minimal + tt.new + "\n"
			if tt.old != "" {
				if !strings.Contains(minimal, tt.old) {
					t.Fatalf("%q is not in the minimal definition", tt.old)
				}
				in = strings.Replace(minimal, tt.old, tt.new, 1)
			}

			a, err := agent.Parse([]byte(in))
			if err == nil || a != nil {
				t.Fatalf("Parse = %v, %v, want an error with %q", a, err, tt.want)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Parse error = %q, want it to contain %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "AIza") {
				t.Errorf("Parse error = %q, repeats the secret", err)
			}
		})
	}
}

func TestParseReportsEverythingAtOnce(t *testing.T) {
	_, err := agent.Parse([]byte("nmae: A\nversion: 1\nmodel: m\nskills:\n  - {id: a, name: n, description: d}\n"))
	if err == nil {
		t.Fatal("Parse accepted a broken definition")
	}
	want := []string{
		"name: is required: the name people know the agent by",
		"description: is required: one or two sentences on what the agent is for",
		`line 1: nmae: unknown key; did you mean "name"?`,
		"line 5: skills[0].tags: at least one is required: keywords to find the skill by",
	}
	if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
}

func TestParseBoundsTheFile(t *testing.T) {
	big := minimal + "instructions: " + strings.Repeat("x", 256<<10)
	if _, err := agent.Parse([]byte(big)); err == nil || !strings.Contains(err.Error(), "larger than 256 KiB") {
		t.Errorf("Parse(%d bytes) = %v, want too large", len(big), err)
	}
	for _, in := range []string{"", "# nothing\n", "\n\n"} {
		if _, err := agent.Parse([]byte(in)); err == nil || !strings.Contains(err.Error(), "empty") {
			t.Errorf("Parse(%q) = %v, want an error about an empty file", in, err)
		}
	}
}

func TestLoadFile(t *testing.T) {
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good.yaml"), filepath.Join(dir, "bad.yaml")
	for path, text := range map[string]string{good: minimal, bad: "name: B\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if a, err := agent.Load(good, nil); err != nil || a.Name != "A" {
		t.Errorf("Load(good) = %v, %v, want agent A", a, err)
	}
	for path, want := range map[string]string{
		bad:                        "bad.yaml:\ndescription: is required",
		dir:                        "not a regular file",
		os.DevNull:                 "not a regular file",
		filepath.Join(dir, "gone"): "no such file",
	} {
		if _, err := agent.Load(path, []byte(minimal)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Load(%s) = %v, want an error with %q", path, err, want)
		}
	}
}

// FuzzParse holds Parse to its word: it never panics, and what it accepts is
// complete.
func FuzzParse(f *testing.F) {
	f.Add([]byte(minimal))
	f.Add([]byte(minimal + "limits: {steps: 1}\ntools: [a]\nprovider: {organization: O, url: 'https://e.com'}\n"))
	f.Add([]byte("&a [*a]"))
	f.Add([]byte("a: &a [x]\n<<: *a\n? {}\n: !!binary =\n--- |\n ...\n"))
	f.Add([]byte("\xff\xfe-\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := agent.Parse(data)
		if (a == nil) == (err == nil) {
			t.Fatalf("Parse = %v, %v, want exactly one of them", a, err)
		}
		if err != nil {
			return
		}
		if a.Name == "" || a.Description == "" || a.Version == "" || a.Model == "" || len(a.Skills) == 0 ||
			len(a.InputModes) == 0 || len(a.OutputModes) == 0 {
			t.Errorf("Parse accepted an incomplete definition: %+v", a)
		}

		if l := a.Limits; l.Steps < 1 || l.OutputTokens < 1 || l.OutputTokens > l.TurnTokens {
			t.Errorf("Parse accepted limits %+v", l)
		}
		if c := a.Conversation; c.Tokens < 0 || c.Tasks < 0 || c.Tools == "" {
			t.Errorf("Parse accepted a conversation %+v", c)
		}
	})
}
