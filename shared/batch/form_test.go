package batch_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"

	"errand/shared/agent"
	"errand/shared/batch"
	"errand/shared/task"
)

// definition is an agent that reads pictures and writes JSON.
func definition() *agent.Agent {
	return &agent.Agent{
		Name: "Clerk", InputModes: []string{"text/plain", "image/*"}, OutputModes: []string{"text/plain", "application/json"},
		Skills: []agent.Skill{
			{ID: "sum", Name: "Sum up"},
			{ID: "table", Name: "Make a table", InputModes: []string{"application/json", "text/plain"}},
		},
	}
}

func form() batch.Form { return batch.NewForm(definition(), "gemini-x") }

// plain is an agent that reads and writes text alone.
func plain() batch.Form {
	return batch.NewForm(&agent.Agent{Name: "Clerk", InputModes: []string{"text/plain"}, OutputModes: []string{"text/plain"}}, "gemini-x")
}

// chat is a line of OpenAI's with the given members of its body.
func chat(body string) string {
	return `{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{` + body + `}}`
}

const hello = `"model":"errand","messages":[{"role":"user","content":"Hi"}]`

func text(s string) *a2a.Part { return task.TextPart(s) }

// Files that a line names are noted, whatever the agent reads: their types show when they are there.
func TestFilesOfALine(t *testing.T) {
	f, id := plain(), "file-"+strings.Repeat("a", 26)
	f.Hosts = []string{"agent.example"}
	own, elsewhere := `{"url":"https://agent.example/files/`+id+`/content"}`, `{"url":"https://x.example/files/`+id+`/content"}`
	byID := `{"data":{"file":"` + id + `"}}`

	for parts, want := range map[string]string{
		own + `,` + byID: "", elsewhere: "this agent reads text/plain",
		strings.TrimSuffix(own, "}") + `,"mediaType":"image/png"}`: "this agent reads text/plain",
		strings.Repeat(byID+",", task.MaxFiles) + byID:             "name 21 files",
	} {
		it, bad := f.Parse(batch.Errand, 1, []byte(`{"message":{"parts":[`+parts+`]}}`))
		switch {
		case want != "":
			if bad == nil || !strings.Contains(bad.Reason, want) {
				t.Errorf("%s: %v, want %q", parts, bad, want)
			}
			continue
		case bad != nil || len(it.Files) != 2:
			t.Fatalf("%s: %+v, %v", parts, it.Files, bad)
		}

		for i, n := range it.Files {
			if n.ID != id || n.Field != fmt.Sprintf("message.parts[%d]", i) || !n.Reads("text/plain") || n.Reads("image/png") {
				t.Errorf("%+v", n)
			}
			if named, ok := task.FileIn(it.Message.Parts[i]); !ok || named != id {
				t.Errorf("part %d names %q", i, named)
			}
		}
	}
}

func TestParseMakesTheMessageOfALine(t *testing.T) {
	picture := &a2a.Part{Content: a2a.Raw("abc"), MediaType: "image/png"}
	for _, row := range []struct {
		name string
		raw  string
		id   string // "" is a
		want []*a2a.Part
	}{
		{"text", `{"id":"a","text":"Hi"}`, "", []*a2a.Part{text("Hi")}},
		{"key", `{"key":"a","text":"Hi"}`, "", []*a2a.Part{text("Hi")}},
		{"no id", `{"text":"Hi"}`, "7", []*a2a.Part{text("Hi")}},
		{"nulls", `{"id":null,"text":"Hi","message":null,"skill":null,"metadata":null}`, "7", []*a2a.Part{text("Hi")}},
		{"space and CR", " {\"text\" : \"Hi\"} \r", "7", []*a2a.Part{text("Hi")}},
		{"skill", `{"id":"a","text":"Hi","skill":"sum"}`, "", []*a2a.Part{text(`(for the skill "Sum up":)`), text("Hi")}},
		{"message", `{"id":"a","message":{"role":"ROLE_USER","parts":[{"text":"Hi"},{"raw":"YWJj","mediaType":"image/png"}]}}`, "",
			[]*a2a.Part{{Content: a2a.Text("Hi")}, picture}},
		{"data URLs", `{"id":"a","message":{"parts":[{"url":"data:image/png;base64,YWJj"},{"mediaType":"image/png","url":"data:,abc"},{"url":"data:,a%20b"}]}}`, "",
			[]*a2a.Part{picture, picture, {Content: a2a.Raw("a b"), MediaType: "text/plain;charset=US-ASCII"}}},
		{"paths", `{"id":"a","message":{"parts":[{"text":"Hi","filename":"reports/2026/q1.txt"},{"text":"Ho","filename":".."}]}}`, "",
			[]*a2a.Part{{Content: a2a.Text("Hi"), Filename: "q1.txt"}, {Content: a2a.Text("Ho")}}},
		{"data", `{"id":"a","skill":"table","message":{"parts":[{"data":{"x":[1,null,true,"s"]}}]}}`, "",
			[]*a2a.Part{text(`(for the skill "Make a table":)`), {Content: a2a.Data{Value: map[string]any{"x": []any{1.0, nil, true, "s"}}}}}},

		{"chat", chat(hello), "", []*a2a.Part{text("Hi")}},
		{"chat with other messages", chat(`"model":"Clerk","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"One?","name":"Bo"},
			{"role":"assistant","content":"1","refusal":null,"tool_calls":[]},{"role":"user","content":"Two?"},{"role":"developer","content":[{"type":"text","text":"In words."}]}]`), "",
			[]*a2a.Part{
				text("(instructions:)\n\nBe brief.\n\n(earlier message of \"Bo\":)\n\nOne?\n\n(earlier answer:)\n\n1\n\n(instructions:)\n\nIn words.\n\n(message to answer:)"),
				text("Two?"),
			}},
		{"chat with pictures", chat(`"model":"gemini-x","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,YWJj","detail":"low"}},{"type":"text","text":"What?"}]},
			{"role":"assistant","content":"A cat."},{"role":"user","content":[{"type":"text","text":"And?"},{"type":"image_url","image_url":{"url":"https://example.com/b"}}]}]`), "",
			[]*a2a.Part{
				text("(earlier message:)"), picture, text("What?\n\n(earlier answer:)\n\nA cat.\n\n(message to answer:)"),
				text("And?"), {Content: a2a.URL("https://example.com/b"), MediaType: "image/*"},
			}},
		{"chat with a picture's type", chat(`"model":"gemini-x","messages":[{"role":"user","content":[{"type":"text","text":"?"},{"type":"image_url","image_url":{"url":"https://example.com/b.JPG?x=1"}}]}]`), "",
			[]*a2a.Part{text("?"), {Content: a2a.URL("https://example.com/b.JPG?x=1"), MediaType: "image/jpeg"}}},
		{"chat for JSON", chat(`"response_format":{"type":"json_object"},` + hello), "",
			[]*a2a.Part{text("(the form of the answer:)\n\nOne JSON object and nothing else.\n\n(message to answer:)"), text("Hi")}},
		{"chat for a schema", chat(`"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"object"}}},` + hello), "",
			[]*a2a.Part{text("(the form of the answer:)\n\nOne JSON value of this JSON Schema and nothing else:\n{\"type\":\"object\"}\n\n(message to answer:)"), text("Hi")}},
		{"chat with options", chat(`"temperature":0,"top_p":1,"seed":-3,"max_tokens":10,"max_completion_tokens":null,"n":1,"stream":false,"logprobs":false,"tools":[],"tool_choice":"auto",
			"stop":null,"modalities":["text"],"user":"u","store":true,"reasoning_effort":"low","service_tier":"flex","logit_bias":{ },"response_format":{"type":"text"},` + hello), "", []*a2a.Part{text("Hi")}},
	} {
		t.Run(row.name, func(t *testing.T) {
			dialect := batch.Errand
			if strings.Contains(row.raw, "custom_id") {
				dialect = batch.OpenAI
			}
			if got, bad := batch.Detect(7, []byte(row.raw)); bad != nil || got != dialect {
				t.Errorf("Detect = %q, %v", got, bad)
			}
			raw := []byte(row.raw)
			it, bad := form().Parse(dialect, 7, raw)
			if bad != nil {
				t.Fatal(bad)
			}
			clear(raw) // an item keeps nothing of the line's memory

			if want := cmpOr(row.id, "a"); it.ID != want || it.Line != 7 {
				t.Errorf("the item is %q of line %d, want %q of 7", it.ID, it.Line, want)
			}
			if diff := cmp.Diff(row.want, []*a2a.Part(it.Message.Parts)); diff != "" {
				t.Errorf("parts (-want +got):\n%s", diff)
			}
			if it.Message.Role != a2a.MessageRoleUser {
				t.Errorf("the role is %q", it.Message.Role)
			}
		})
	}
}

// A fault names its field and what to do, and nothing of the content.
func TestParseRefusesABadLine(t *testing.T) {
	const secret = "s3cret"
	user := `{"role":"user","content":"` + secret + `"}`
	one := `{"type":"image_url","image_url":{"url":"https://example.com/x"}}`
	pictures := `{"role":"user","content":[` + strings.Repeat(one+",", 39) + one + `]}`
	for _, row := range []struct{ name, raw, id, code, field, reason string }{
		{"blank", "  ", "", batch.CodeLine, "", "the line is blank"},
		{"not JSON", `{"id":"a","text":s3cret}`, "a", batch.CodeJSON, "", "not JSON from byte 18 on"},
		{"cut off", `{"id":"a","text":"s3cret`, "a", batch.CodeJSON, "", "ends within a JSON value"},
		{"cut off between fields", `{"id":"a",`, "a", batch.CodeJSON, "", "ends within a JSON value"},
		{"two values", `{"id":"a","text":"s3cret"}{}`, "a", batch.CodeJSON, "", "more than one JSON value"},
		{"not UTF-8", "{\"id\":\"a\",\"text\":\"s3cret\xff\"}", "a", batch.CodeJSON, "", "not UTF-8"},
		{"lone surrogate", `{"id":"a","text":"\ud800"}`, "a", batch.CodeJSON, "", "not JSON from byte"},
		{"twice", `{"id":"a","text":"s3cret","text":"s3cret"}`, "a", batch.CodeJSON, "text", "occurs twice"},
		{"no object", `"s3cret"`, "", batch.CodeLine, "", "the line must be an object"},
		{"null", `null`, "", batch.CodeLine, "", "the line must be an object"},
		{"nothing", `{"id":"a"}`, "a", batch.CodeLine, "text", "is required"},
		{"id of another type", `{"id":17,"text":"s3cret"}`, "", batch.CodeLine, "id", "must be a text"},
		{"blank id", `{"id":" ","text":"s3cret"}`, "", batch.CodeLine, "id", "must not be blank"},
		{"long id", `{"id":"` + strings.Repeat("x", 257) + `","text":"s3cret"}`, "", batch.CodeLine, "id", "more than 256 bytes"},
		{"id with a newline", `{"id":"a\n","text":"s3cret"}`, "", batch.CodeLine, "id", "control character"},
		{"id and key", `{"id":"a","key":"b","text":"s3cret"}`, "b", batch.CodeLine, "key", `another word for "id"`},
		{"slip", `{"id":"a","txet":"s3cret"}`, "a", batch.CodeLine, "txet", `did you mean "text"?`},
		{"unknown", `{"id":"a","text":"x","` + strings.Repeat("y", 99) + `\n":"s3cret"}`, "a", batch.CodeLine, strings.Repeat("y", 40) + "...", "known here: id, text, message"},
		{"the other form", `{"id":"a","text":"x","method":"s3cret"}`, "a", batch.CodeLine, "method", "field of OpenAI's lines"},
		{"Gemini's form", `{"key":"a","request":{"contents":"s3cret"}}`, "a", batch.CodeLine, "request", "Gemini's lines"},
		{"text and message", `{"id":"a","text":"x","message":{"parts":[{"text":"s3cret"}]}}`, "a", batch.CodeLine, "message", `either "text" or "message"`},
		{"empty text", `{"id":"a","text":" \n"}`, "a", batch.CodeLine, "text", "holds nothing"},
		{"text of another type", `{"id":"a","text":["s3cret"]}`, "a", batch.CodeLine, "text", "must be a text"},
		{"unknown skill", `{"id":"a","text":"x","skill":"s3cret"}`, "a", batch.CodeLine, "skill", "it has sum and table"},
		{"skill that reads no pictures", `{"skill":"table","id":"a","message":{"parts":[{"text":"x"},{"raw":"YWJj","mediaType":"image/png"}]}}`, "a", batch.CodeLine, "message.parts[1]", "reads application/json and text/plain, and not image/png"},
		{"a type that is not read", `{"id":"a","message":{"parts":[{"data":"s3cret","mediaType":"text/csv"}]}}`, "a", batch.CodeLine, "message.parts[0]", "and not text/csv"},
		{"no parts", `{"id":"a","message":{}}`, "a", batch.CodeLine, "message.parts", "is required"},
		{"empty parts", `{"id":"a","message":{"parts":[{"text":""}]}}`, "a", batch.CodeLine, "message.parts[0]", "holds nothing"},
		{"two contents", `{"id":"a","message":{"parts":[{"text":"s3cret","data":1}]}}`, "a", batch.CodeLine, "message.parts[0]", "exactly one of"},
		{"many parts", `{"id":"a","message":{"parts":[` + strings.Repeat(`{"text":"x"},`, 100) + `{"text":"s3cret"}]}}`, "a", batch.CodeLine, "message.parts[100]", "at most 100"},
		{"no base64", `{"id":"a","message":{"parts":[{"raw":"s3cret!"}]}}`, "a", batch.CodeLine, "message.parts[0].raw", "is not base64"},
		{"a file's URL", `{"id":"a","message":{"parts":[{"url":"file:///etc/s3cret"}]}}`, "a", batch.CodeLine, "message.parts[0].url", "absolute http"},
		{"a data URL without a comma", `{"id":"a","message":{"parts":[{"url":"data:s3cret"}]}}`, "a", batch.CodeLine, "message.parts[0].url", "without a comma"},
		{"a data URL of no type", `{"id":"a","message":{"parts":[{"url":"data:s3cret;base64,YQ=="}]}}`, "a", batch.CodeLine, "message.parts[0].url", "no media type"},
		{"a long name", `{"id":"a","message":{"parts":[{"text":"x","filename":"dir/` + strings.Repeat("s3cret", 50) + `"}]}}`, "a", batch.CodeLine, "message.parts[0].filename", "more than 255 bytes"},
		{"conversation", `{"id":"a","message":{"contextId":"s3cret","parts":[{"text":"x"}]}}`, "a", batch.CodeLine, "message.contextId", "has no conversation"},
		{"role", `{"id":"a","message":{"role":"ROLE_AGENT","parts":[{"text":"x"}]}}`, "a", batch.CodeLine, "message.role", "must be ROLE_USER"},
		{"our key", `{"id":"a","message":{"metadata":{"batch":1},"parts":[{"text":"x"}]}}`, "a", batch.CodeLine, "message.metadata", `must not have the key "batch"`},
		{"metadata", `{"id":"a","text":"x","metadata":[]}`, "a", batch.CodeLine, "metadata", "must be an object"},
		{"deep", `{"id":"a","text":"x","metadata":{"x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}}`, "a", batch.CodeLine, "", "more than 100 levels"},
		{"number", `{"id":"a","text":"x","metadata":{"x":1e999}}`, "a", batch.CodeLine, "metadata.x", "out of range"},
		{"grows", `{"id":"a","message":{"parts":[{"text":"x"},{"data":[` + strings.Repeat("1e20,", 60_000) + `1],"mediaType":"image/x"}]}}`, "a", batch.CodeLine, "", "too large"},

		{"no custom_id", `{"method":"POST","url":"/v1/chat/completions","body":{` + hello + `}}`, "", batch.CodeLine, "custom_id", "is required"},
		{"no method", `{"custom_id":"a","url":"/v1/chat/completions","body":{` + hello + `}}`, "a", batch.CodeLine, "method", "is required"},
		{"no body", `{"custom_id":"a","method":"POST","url":"/v1/chat/completions"}`, "a", batch.CodeLine, "body", "is required"},
		{"method", `{"custom_id":"a","method":"GET"}`, "a", batch.CodeLine, "method", "must be POST"},
		{"endpoint", `{"custom_id":"a","method":"POST","url":"/v1/responses"}`, "a", batch.CodeURL, "url", "must be /v1/chat/completions"},
		{"our form", `{"custom_id":"a","text":"s3cret"}`, "a", batch.CodeLine, "text", "field of Errand's lines"},
		{"no model", chat(`"messages":[` + user + `]`), "a", batch.CodeModel, "body.model", `use "gemini-x" or "Clerk" or "errand"`},
		{"model", chat(`"model":"gpt-9","messages":[` + user + `]`), "a", batch.CodeModel, "body.model", `"gpt-9" is not served here: use "gemini-x"`},
		{"no messages", chat(`"model":"errand"`), "a", batch.CodeLine, "body.messages", "must end with a message of the user"},
		{"answer last", chat(`"model":"errand","messages":[` + user + `,{"role":"assistant","content":"s3cret"}]`), "a", batch.CodeLine, "body.messages", "must end with"},
		{"tool message", chat(`"model":"errand","messages":[{"role":"tool","content":"s3cret"},` + user + `]`), "a", batch.CodeLine, "body.messages[0].role", "must be system"},
		{"tool calls", chat(`"model":"errand","messages":[{"role":"assistant","tool_calls":[{"id":"s3cret"}]},` + user + `]`), "a", batch.CodeLine, "body.messages[0].tool_calls", "tools of its own"},
		{"no role", chat(`"model":"errand","messages":[{"content":"s3cret"}]`), "a", batch.CodeLine, "body.messages[0].role", "is required"},
		{"no content", chat(`"model":"errand","messages":[{"role":"user"}]`), "a", batch.CodeLine, "body.messages", "holds nothing"},
		{"picture of an answer", chat(`"model":"errand","messages":[{"role":"assistant","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,YWJj"}}]},` + user + `]`), "a", batch.CodeLine, "body.messages[0].content[0]", "must be a text"},
		{"part without a type", chat(`"model":"errand","messages":[{"role":"user","content":[{"text":"s3cret"}]}]`), "a", batch.CodeLine, "body.messages[0].content[0]", `must have a "type"`},
		{"part of another type", chat(`"model":"errand","messages":[{"role":"user","content":[{"type":"video","video":"s3cret"}]}]`), "a", batch.CodeLine, "body.messages[0].content[0].video", "is unknown"},
		{"picture by http", chat(`"model":"errand","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"http://example.com/s3cret"}}]}]`), "a", batch.CodeLine, "body.messages[0].content[0].image_url.url", "https or a data URL"},
		{"picture that is none", chat(`"model":"errand","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:text/html;base64,YWJj"}}]}]`), "a", batch.CodeLine, "body.messages[0].content[0].image_url.url", "data:image/TYPE"},
		{"picture as a text", chat(`"model":"errand","messages":[{"role":"user","content":[{"type":"image_url","image_url":"https://example.com/s3cret"}]}]`), "a", batch.CodeLine, "body.messages[0].content[0].image_url", "must be an object"},
		{"sound", chat(`"model":"errand","messages":[{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"YWJj","format":"mp3"}}]}]`), "a", batch.CodeLine, "body.messages[0].content[0]", "and not audio/mpeg"},
		{"file's id", chat(`"model":"errand","messages":[{"role":"user","content":[{"type":"file","file":{"file_id":"s3cret"}}]}]`), "a", batch.CodeLine, "body.messages[0].content[0].file.file_id", "file_data"},
		{"temperature", chat(`"temperature":3,` + hello), "a", batch.CodeLine, "body.temperature", "from 0 to 2"},
		{"temperature of another type", chat(`"temperature":"s3cret",` + hello), "a", batch.CodeLine, "body.temperature", "must be a number"},
		{"large schema", chat(`"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"x":"` + strings.Repeat("x", batch.MaxSchema) + `"}}},` + hello), "a", batch.CodeLine, "body.response_format.json_schema.schema", "more than 32 KiB"},
		{"many pictures", chat(`"model":"errand","messages":[` + strings.Repeat(pictures+",", 2) + pictures + `]`), "a", batch.CodeLine, "body.messages", "more than 100 files"},
		{"strict schema", chat(`"response_format":{"type":"json_schema","json_schema":{"name":"n","strict":true,"schema":{}}},` + hello), "a", batch.CodeLine, "body.response_format", "does not enforce a schema"},
		{"other form of an answer", chat(`"response_format":{"type":"grammar"},` + hello), "a", batch.CodeLine, "body.response_format", "unknown type"},
		{"unknown option", chat(`"temprature":1,` + hello), "a", batch.CodeLine, "body.temprature", `did you mean "temperature"?`},
	} {
		t.Run(row.name, func(t *testing.T) {
			dialect := batch.Errand
			if strings.Contains(row.raw, `"custom_id"`) || strings.HasPrefix(row.raw, `{"method"`) {
				dialect = batch.OpenAI
			}

			it, bad := form().Parse(dialect, 7, []byte(row.raw))
			if bad == nil {
				t.Fatalf("it was read: %+v", it)
			}
			if bad.Line != 7 || bad.ID != row.id || bad.Code != row.code || bad.Field != row.field || !strings.Contains(bad.Reason, row.reason) {
				t.Errorf("got  %+v\nwant id %q, code %q, field %q, reason %q", *bad, row.id, row.code, row.field, row.reason)
			}

			if strings.Contains(bad.Reason, secret) {
				t.Errorf("the reason tells content: %s", bad.Reason)
			}
			if !strings.Contains(bad.Reason, ":") && row.code != batch.CodeLine {
				t.Errorf("the reason names no remedy: %s", bad.Reason)
			}
		})
	}
}

// Every option that asks for something else is refused by its name.
func TestParseRefusesWhatTheAgentCannotDo(t *testing.T) {
	for _, option := range []string{
		`"tools":[{"type":"function"}]`, `"functions":[{}]`, `"tool_choice":"required"`, `"function_call":{"name":"f"}`, `"n":2`, `"stream":true`,
		`"logprobs":true`, `"top_logprobs":3`, `"audio":{"voice":"x"}`, `"modalities":["text","audio"]`, `"stop":["x"]`, `"stop":"x"`,
		`"logit_bias":{"1":2}`, `"web_search_options":{}`, `"stream_options":{}`, `"moderation":{}`,
	} {
		name, _, _ := strings.Cut(strings.Trim(option, `"`), `"`)
		_, bad := form().Parse(batch.OpenAI, 1, []byte(chat(option+","+hello)))
		if bad == nil || bad.Field != "body."+name || !strings.Contains(bad.Reason, "remove it") {
			t.Errorf("%s: %+v", option, bad)
		}
	}
	for _, format := range []string{`{"type":"json_object"}`, `{"type":"json_schema","json_schema":{"schema":{}}}`} {
		_, bad := plain().Parse(batch.OpenAI, 1, []byte(chat(`"response_format":`+format+","+hello)))
		if bad == nil || bad.Field != "body.response_format" || !strings.Contains(bad.Reason, "application/json") {
			t.Errorf("%s: %+v", format, bad)
		}
	}
}

func TestDetectKnowsWhatAFileIs(t *testing.T) {
	for _, row := range []struct{ raw, reason string }{
		{"", "the line is blank"},
		{`{}`, "in no known form"},
		{`{"prompt":"x"}`, "in no known form"},
		{`[{"id":"a"},`, "write one object on each line"},
		{"\xff\xfe{\x00", "UTF-16"},
		{"\x1f\x8b\x08", "compressed"},
		{`id,text`, "not JSON"},
	} {
		d, bad := batch.Detect(3, []byte(row.raw))
		if bad == nil || bad.Line != 3 || !strings.Contains(bad.Reason, row.reason) {
			t.Errorf("%q: %q, %+v", row.raw, d, bad)
		}
	}
}

// The message of an item has the batch and the line, and its record tells the line.
func TestTheItemsMessageTellsItsLine(t *testing.T) {
	const manifest = `{"id":"a","skill":"sum","message":{"messageId":"m","metadata":{"k":1},"parts":[{"text":"Hi"}]},"metadata":{"r":2}}`
	it, bad := form().Parse(batch.Errand, 7, []byte(manifest))
	if bad != nil {
		t.Fatal(bad)
	}
	b := task.BatchID("acme/ann", "n")
	m := it.For(b)
	want := map[string]any{"k": 1.0, "batch": map[string]any{"id": "a", "line": 7.0, "skill": "sum"}}
	if diff := cmp.Diff(want, m.Metadata); diff != "" || m.ID != "m" || m.ContextID != b {
		t.Errorf("id %q, context %q, metadata (-want +got):\n%s", m.ID, m.ContextID, diff)
	}
	if len(it.Message.Metadata) != 1 || it.Message.ContextID != "" {
		t.Error("the item's own message has changed")
	}
	if diff := cmp.Diff(map[string]any{"r": 2.0}, it.Metadata); diff != "" {
		t.Error(diff)
	}

	r, err := task.Accept(moment(), task.Acceptance{ID: task.ItemID(b, 7), Context: b, Owner: "acme/ann", Lane: task.Bulk, Message: m})
	if err != nil {
		t.Fatal(err)
	}
	if id, n, ok := batch.LineOf(r); id != "a" || n != 7 || !ok {
		t.Errorf("LineOf = %q, %d, %v", id, n, ok)
	}
	r.Task.History = nil // as after a deletion
	if id, n, ok := batch.LineOf(r); id != "7" || n != 7 || !ok {
		t.Errorf("without messages LineOf = %q, %d, %v", id, n, ok)
	}
	if _, _, ok := batch.LineOf(task.Record{Task: &a2a.Task{ID: a2a.TaskID(b)}}); ok {
		t.Error("a batch was taken for an item")
	}
}

// An item of the largest line fits into a record and leaves room for an answer.
func TestTheLargestLineFitsARecord(t *testing.T) {
	var grown int
	for _, piece := range []string{"x", `x\n`, "é", "x\u2028", `x\u0001`, `x\\`} {
		for _, pattern := range []string{`{"id":"a","text":"%s"}`, chat(`"model":"errand","messages":[{"role":"system","content":"%s"},{"role":"user","content":"x"}]`)} {
			raw := strings.Replace(pattern, "%s", strings.Repeat(piece, (batch.MaxLine-len(pattern))/len(piece)), 1)
			d := batch.Errand
			if strings.Contains(pattern, "custom_id") {
				d = batch.OpenAI
			}
			it, bad := form().Parse(d, 1, []byte(raw))
			if bad != nil {
				if !strings.Contains(bad.Reason, "too large") {
					t.Error(bad)
				}
				grown++
				continue
			}

			b := task.BatchID("acme/ann", "n")
			r, err := task.Accept(moment(), task.Acceptance{ID: task.ItemID(b, 1), Context: b, Owner: "acme/ann", Lane: task.Bulk, Message: it.For(b)})
			if err != nil {
				t.Errorf("%q: %v", piece, err)
				continue
			}
			if enc, err := r.Encode(); err != nil || enc.Size() > task.LimitAccept {
				t.Errorf("%q: the record has %d bytes, %v", piece, enc.Size(), err)
			}
		}
	}
	if grown == 0 {
		t.Error("no line was refused, so the test shows nothing of lines that grow")
	}
}

func TestFormKnowsTheAgent(t *testing.T) {
	want := batch.Form{
		Skills: []batch.Skill{{"sum", "Sum up", []string{"text/plain", "image/*"}}, {"table", "Make a table", []string{"application/json", "text/plain"}}},
		Models: []string{"gemini-x", "Clerk", "errand"}, Input: []string{"text/plain", "image/*", "application/json"}, JSON: true,
	}
	if diff := cmp.Diff(want, form()); diff != "" {
		t.Error(diff)
	}
}

// FuzzParse holds every line against what other readers of JSON say of it.
func FuzzParse(f *testing.F) {
	for _, raw := range []string{`{"id":"a","text":"Hi"}`, chat(hello), `{"message":{"parts":[{"data":{"x":1}}]}}`, `{`, "\xff", `{"id":"a","text":"x","skill":"sum","metadata":{"a":[1]}}`} {
		f.Add(raw)
	}

	all := form()
	f.Fuzz(func(t *testing.T, raw string) {
		if strings.Contains(raw, "\n") || len(raw) > batch.MaxLine {
			return
		}
		for _, d := range []batch.Dialect{batch.Errand, batch.OpenAI} {
			it, bad := all.Parse(d, 1, []byte(raw))
			if bad != nil {
				if bad.Reason == "" || bad.Code == "" || bad.Line != 1 || len(bad.Reason) > 2000 {
					t.Errorf("a fault without reason: %+v", bad)
				}
				continue
			}

			if !json.Valid([]byte(raw)) || it.ID == "" || it.Message == nil || len(it.Message.Parts) == 0 || len(it.Message.Parts) > batch.MaxParts+1 || slices.Contains(it.Message.Parts, nil) {
				t.Errorf("read %q as %+v", raw, it)
			}
			if seen, bad := batch.Detect(1, []byte(raw)); bad != nil || seen != d {
				t.Errorf("a line of %s is detected as %q, %v", d, seen, bad)
			}
			b := task.BatchID("acme/ann", "n")
			if _, err := task.Accept(moment(), task.Acceptance{ID: task.ItemID(b, 1), Context: b, Owner: "acme/ann", Lane: task.Bulk, Message: it.For(b), Request: task.Request{Metadata: it.Metadata}}); err != nil {
				t.Errorf("no record of %q: %v", raw, err)
			}
		}
	})
}

func ExampleForm_Parse() {
	f := batch.Form{Models: []string{"gemini-x"}, Input: []string{"text/plain"}}
	_, bad := f.Parse(batch.OpenAI, 3, []byte(`{"custom_id":"a","method":"POST","url":"/v1/embeddings","body":{}}`))
	fmt.Println(bad)
	// Output: line 3: url: must be /v1/chat/completions
}
