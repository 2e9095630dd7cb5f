package front_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"errand/cardserver/front"
	"errand/shared/agent"
	"errand/shared/task"
)

// reads makes the agent read these media types.
func reads(modes ...string) func(*front.Config) {
	return func(c *front.Config) {
		a := *c.Agent
		a.InputModes = modes
		c.Agent = &a
	}
}

// Every fault of a request is named by its field and explained, and the request has no
// effect.
//
// Shows M7, E6.
func TestEveryFaultIsNamed(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		got := w.refused(t, send, `{"message":{"role":"ROLE_AGENT","parts":[{"text":"a"},{"text":"a","raw":"AA=="}],"contextId":1},
			"configuration":{"historyLength":-1,"acceptedOutputModes":[1]}}`, -32602, "message.role")
		var fields []string
		for _, v := range got.detail("type.googleapis.com/google.rpc.BadRequest")["fieldViolations"].([]any) {
			v := v.(map[string]any)
			if d, _ := v["description"].(string); d == "" || len(v) != 2 {
				t.Errorf("violation %v", v)
			}
			fields = append(fields, v["field"].(string))
		}
		slices.Sort(fields)
		want := []string{
			"configuration.acceptedOutputModes[0]", "configuration.historyLength", "message.contextId",
			"message.messageId", "message.parts[1]", "message.role",
		}
		if diff := cmp.Diff(want, fields); diff != "" {
			t.Errorf("fields of the violations (-want +got):\n%s", diff)
		}
	})
}

// Shows M8.
func TestMessagesMustBeComplete(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t, reads("*/*"))
		for field, m := range map[string]string{
			"message":           `null`,
			"message.messageId": `{"role":"ROLE_USER","parts":[{"text":"a"}]}`,
			"message.role":      `{"messageId":"m","role":"ROLE_UNSPECIFIED","parts":[{"text":"a"}]}`,
			"message.parts":     `{"messageId":"m","role":"ROLE_USER","parts":[]}`,
			"message.parts[0]":  `{"messageId":"m","role":"ROLE_USER","parts":[{"mediaType":"text/plain"}]}`,
			"message.parts[1]":  `{"messageId":"m","role":"ROLE_USER","parts":[{"text":"a"},{"text":"a","data":{}}]}`,
		} {
			w.refused(t, send, sending(m), -32602, field)
			w.refused(t, streaming, sending(m), -32602, field)
		}
		for i, part := range []string{`{"text":"a"}`, `{"raw":"AA=="}`, `{"url":"https://example.com/a"}`, `{"data":[1]}`, `{"data":null}`} {
			if got := w.call(t, send, sending(message(fmt.Sprint(i), `"parts":[`+part+`]`))); got.code() != 0 {
				t.Errorf("part %s: %s", part, got.body)
			}
		}
	})
}

// A message is refused if neither the agent nor one of its skills reads its parts, or writes
// one of the accepted types.
//
// Shows M9, M10.
func TestContentTypesOfPartsAreChecked(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t, func(c *front.Config) {
			a := *c.Agent
			a.Skills = append(slices.Clone(a.Skills), agent.Skill{InputModes: []string{"image/png"}, OutputModes: []string{"audio/ogg"}})
			c.Agent = &a
		})

		const unsupported = -32005
		n := 0
		fresh := func() string { n++; return fmt.Sprint("m", n) }

		for part, code := range map[string]int{
			`{"text":"a"}`: 0, `{"raw":"AA==","mediaType":"image/png"}`: 0,
			`{"raw":"AA==","mediaType":"image/jpeg"}`: unsupported, `{"raw":"AA=="}`: unsupported, `{"data":{}}`: unsupported,
			`{"text":"a","mediaType":"text/html"}`: unsupported,
		} {
			if got := w.code(t, send, sending(message(fresh(), `"parts":[{"text":"b"},`+part+`]`))); got != code {
				t.Errorf("part %s: code %d, want %d", part, got, code)
			}
		}

		for modes, code := range map[string]int{
			`[]`: 0, `["text/plain"]`: 0, `["image/png","audio/ogg"]`: 0, `["text/*"]`: 0, `["image/png"]`: unsupported, `["text/html","video/*"]`: unsupported,
		} {
			if got := w.code(t, send, configured(message(fresh(), ""), `"returnImmediately":true,"acceptedOutputModes":`+modes)); got != code {
				t.Errorf("output modes %s: code %d, want %d", modes, got, code)
			}
		}
	})
}

// The answer to a question about a call may be data, as the question is, whatever the agent
// reads, in a message to a task.
func TestDataAnswersAQuestionAboutACall(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		const unsupported, unknownTask = -32005, -32001
		for _, tt := range []struct {
			task, data string
			code       int
		}{
			{"t", `{"answer":{"key":"t/life/1.1","hash":"h","answer":"it happened"}}`, unknownTask},
			{"t", `{"answer":{"key":"t/life/1.1"}}`, unsupported},
			{"t", `{"answer":{"key":"t/life/1.1","answer":"leave it"},"more":1}`, unsupported},
			{"t", `{"answer":7}`, unsupported},
			{"t", `["answer"]`, unsupported},
			{"", `{"answer":{"key":"/life/1.1","answer":"leave it"}}`, unsupported},
		} {
			fields := `"parts":[{"data":` + tt.data + `}]`
			if tt.task != "" {
				fields += `,"taskId":"` + tt.task + `"`
			}
			if got := w.code(t, send, sending(message("m", fields))); got != tt.code {
				t.Errorf("%s to %q: code %d, want %d", tt.data, tt.task, got, tt.code)
			}
		}
	})
}

// Metadata of any JSON stays with the message and with the request.
//
// Shows M32.
func TestMetadataIsKept(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		const text = `{"https://example.com/x":{"a":[1.5,null,true,{"b":""}]},"ü":"ä"}`
		var want map[string]any
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(err)
		}
		id := w.call(t, send, `{"message":`+message("m", `"metadata":`+text)+`,"metadata":`+text+`,"configuration":{"returnImmediately":true}}`).task().ID
		r := w.Load(id)
		if diff := cmp.Diff(want, map[string]any(r.Request().Metadata)); diff != "" {
			t.Errorf("metadata of the request (-want +got):\n%s", diff)
		}
		got := into[struct {
			History []struct{ Metadata map[string]any }
		}](w.call(t, "GetTask", byID(id)))
		if diff := cmp.Diff(want, got.History[0].Metadata); diff != "" {
			t.Errorf("metadata of the message (-want +got):\n%s", diff)
		}
		w.refused(t, send, `{"message":`+message("n", "")+`,"metadata":[1]}`, -32602, "metadata")
	})
}

// A message may ask for an answer without the earlier tasks of its context. Any other wish about
// the conversation is refused by its name.
func TestMessagesWithoutConversation(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		id := w.call(t, send, sending(message("m", `"metadata":{"conversation":"none"}`))).task().ID
		if alone, _ := task.Alone(w.Load(id).Task.History[0]); !alone {
			t.Error("the wish was not kept")
		}
		for _, value := range []string{`"all"`, `""`, `null`, `true`, `["none"]`, `{"none":1}`} {
			w.refused(t, send, sending(message("n", `"metadata":{"conversation":`+value+`}`)), -32602, "message.metadata.conversation")
		}
	})
}

// Messages are bounded in every direction, and the error of a larger one says so.
//
// Shows M33.
func TestMessagesAreBounded(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		parts := strings.TrimSuffix(strings.Repeat(`{"text":"a"},`, 101), ",")
		w.refused(t, send, sending(message("m", `"parts":[`+parts+`]`)), -32602, "message.parts")
		w.refused(t, send, sending(message("m", `"parts":[{"text":"`+strings.Repeat("x", 600<<10)+`"}]`)), -32602, "message")
		w.refused(t, send, sending(message("m", `"metadata":`+strings.Repeat(`{"a":`, 200)+"1"+strings.Repeat("}", 200))), -32602, b.whole)
		w.refused(t, send, sending(message("m", `"parts":[{"raw":"AA==","mediaType":"application/x-msdownload"}]`)), -32005, "")
		if got := w.call(t, send, sending(message("m", `"parts":[{"text":"`+strings.Repeat("x", 1<<20)+`"}]`))); got.status != 413 || got.code() != -32600 {
			t.Errorf("a body of more than 1 MiB is answered %d %s", got.status, got.body)
		}
		if got := w.call(t, send, sending(message("m", "")), with("Content-Type", "text/plain")); got.status != 415 || got.code() != -32005 {
			t.Errorf("text/plain is answered %d %s", got.status, got.body)
		}
		if n := len(w.versions(t)); n != 0 {
			t.Errorf("%d tasks were made", n)
		}
	})
}

// A reference to a file leads to a web server only, and its name hides nothing.
//
// Shows M34.
func TestFileReferencesLeadToWebServers(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t, reads("*/*"))
		for _, u := range []string{"file:///etc/passwd", "javascript:alert(1)", "ftp://example.com/a", "/a", "example.com", "https://", "https://a b/", `http:a\u0000`} {
			w.refused(t, send, sending(message("m", `"parts":[{"url":"`+u+`"}]`)), -32602, "message.parts[0].url")
		}
		w.refused(t, send, sending(message("m", `"parts":[{"raw":"AA==","filename":"a\u202egpj.exe"}]`)), -32602, "message.parts[0].filename")
		if got := w.call(t, send, sending(message("m", `"parts":[{"url":"https://example.com/a.png"}]`))); got.code() != 0 {
			t.Errorf("an https URL: %s", got.body)
		}
	})
}
