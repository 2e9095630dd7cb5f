package front_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	legacypb "github.com/a2aproject/a2a-go/a2apb"
	"github.com/a2aproject/a2a-go/v2/a2a"
	a2apb "github.com/a2aproject/a2a-go/v2/a2apb/v1"
	"google.golang.org/protobuf/reflect/protoreflect"

	"errand/cardserver/front"
	"errand/shared/lab/conformance"
	"errand/shared/lab/faulty"
	"errand/shared/lab/protojson"
	"errand/shared/task"
)

// A seed is a valid request of one of the bindings and versions.
type seed struct{ method, target, body string }

func seeds(id string) []seed {
	const part = `{"text":"hi","mediaType":"text/plain","metadata":{"k":[1,null,{"x":true}]}}`
	const old = `{"kind":"text","text":"hi","metadata":{"k":1.5}}`
	message := `"message":{"messageId":"m1","role":"ROLE_USER","parts":[` + part + `],"contextId":"c","extensions":["urn:x:y"],"referenceTaskIds":["` + id + `"]}`
	hook := `"url":"https://hooks.example.com/x","token":"tok","authentication":{"scheme":"Bearer","credentials":"c"}`
	sending := `{` + message + `,"configuration":{"returnImmediately":true,"historyLength":2,"acceptedOutputModes":["text/plain"],"taskPushNotificationConfig":{"id":"h",` + hook + `}},"metadata":{"k":"v"}}`
	sending03 := `{"message":{"kind":"message","messageId":"m2","role":"user","parts":[` + old + `]},"configuration":{"blocking":false,"pushNotificationConfig":{"url":"https://hooks.example.com/x","authentication":{"schemes":["Bearer"],"credentials":"c"}}}}`
	listing := `"contextId":"c","status":"TASK_STATE_SUBMITTED","pageSize":5,"historyLength":1,"statusTimestampAfter":"2026-01-02T03:04:05Z","includeArtifacts":true`
	rpc := func(method, params string) seed { return seed{"POST", "/", request(method, params)} }
	return []seed{
		rpc("SendMessage", sending), rpc("SendStreamingMessage", sending), rpc("GetTask", `{"id":"`+id+`","historyLength":3}`),
		rpc("ListTasks", "{"+listing+"}"), rpc("CancelTask", `{"id":"`+id+`","metadata":{"k":"v"}}`), rpc("SubscribeToTask", `{"id":"`+id+`"}`),
		rpc("CreateTaskPushNotificationConfig", `{"taskId":"`+id+`",`+hook+`}`), rpc("ListTaskPushNotificationConfigs", `{"taskId":"`+id+`","pageSize":2}`),
		rpc("DeleteTaskPushNotificationConfig", `{"taskId":"`+id+`","id":"h"}`), rpc("GetExtendedAgentCard", `{}`),
		rpc("message/send", sending03), rpc("message/stream", sending03), rpc("tasks/get", `{"id":"`+id+`"}`),
		rpc("tasks/pushNotificationConfig/set", `{"taskId":"`+id+`","pushNotificationConfig":{"url":"https://hooks.example.com/x"}}`),
		{"POST", "/message:send", sending}, {"POST", "/message:stream", sending}, {"POST", "/v1/message:send", sending03},
		{"GET", "/tasks/" + id + "?historyLength=1", ""}, {"GET", "/tasks?contextId=c&pageSize=5&status=TASK_STATE_SUBMITTED&includeArtifacts=true", ""},
		{"GET", "/tasks/" + id + ":subscribe", ""}, {"POST", "/tasks/" + id + ":cancel", `{"metadata":{"k":"v"}}`},
		{"POST", "/tasks/" + id + "/pushNotificationConfigs", "{" + hook + "}"}, {"GET", "/acme/tasks/" + id + "/pushNotificationConfigs?pageSize=1", ""},
		{"DELETE", "/tasks/" + id + "/pushNotificationConfigs/h", ""}, {"GET", "/v1/tasks/" + id, ""}, {"GET", "/v1/card", ""},
	}
}

// respelt are requests of both versions and bindings in all spellings that ProtoJSON allows.
func respelt(id string) []seed {
	const hook = `"id":"h","url":"https://hooks.example.com/x","token":"tok","authentication":`
	const config = `{` + hook + `{"scheme":"Bearer","credentials":"c"}}`
	const config03 = `{` + hook + `{"schemes":["Bearer"],"credentials":"c"}}`
	message := `"message":{"messageId":"p","role":"ROLE_USER","parts":[{"text":"hi"}],"contextId":"c","extensions":["urn:x:y"],"referenceTaskIds":["` + id + `"]},"metadata":{"k":1}`

	v1, v03 := a2apb.File_a2av1_proto.Messages(), legacypb.File_a2a_proto.Messages()
	var all []seed
	for _, row := range []struct {
		proto        protoreflect.MessageDescriptor
		rpc, path    string
		body, schema string // schema are fields of JSON-RPC that the proto does not have
	}{
		{v1.ByName("SendMessageRequest"), "SendMessage", "/message:send", `{` + message + `,"configuration":{"returnImmediately":true,"historyLength":2,"taskPushNotificationConfig":` + config + `}}`, ""},
		{v1.ByName("SendMessageRequest"), "SendStreamingMessage", "/message:stream", `{` + message + `,"configuration":{"acceptedOutputModes":["text/plain"]}}`, ""},
		{v1.ByName("ListTasksRequest"), "ListTasks", "", `{"status":"TASK_STATE_SUBMITTED","pageSize":5,"historyLength":1,"statusTimestampAfter":"2026-01-02T03:04:05Z","includeArtifacts":true}`, ""},
		{v1.ByName("TaskPushNotificationConfig"), "CreateTaskPushNotificationConfig", "/tasks/" + id + "/pushNotificationConfigs", `{"taskId":"` + id + `",` + config[1:], ""},
		{v1.ByName("ListTaskPushNotificationConfigsRequest"), "ListTaskPushNotificationConfigs", "", `{"taskId":"` + id + `","pageSize":5}`, ""},
		{v03.ByName("SendMessageRequest"), "message/send", "/v1/message:send", `{` + message + `,"configuration":{"blocking":false,"historyLength":2,"pushNotification":` + config03 + `}}`, ""},
		{v03.ByName("GetTaskRequest"), "tasks/get", "", `{"historyLength":5}`, `"id":"` + id + `",`},
		{v03.ByName("TaskPushNotificationConfig"), "tasks/pushNotificationConfig/set", "/v1/tasks/" + id + "/pushNotificationConfigs", `{"pushNotificationConfig":` + config03 + `}`, `"taskId":"` + id + `",`},
	} {
		for _, s := range protojson.Spellings(row.proto, row.body) {
			if s.Default && row.proto.ParentFile() == legacypb.File_a2a_proto {
				continue // in the schema of 0.3 false and zero are not what absent is
			}
			all = append(all, seed{"POST", "/", request(row.rpc, "{"+row.schema+s.Body[1:])})
			if row.path != "" {
				all = append(all, seed{"POST", row.path, s.Body})
			}
		}
	}
	return all
}

// Every spelling of a valid request is valid.
//
// Shows B-6.
func TestRespeltRequestsAreServed(t *testing.T) {
	w := newWorld(t, shortStreams)
	id := w.insert(anonymous, "seed", a2a.TaskStateSubmitted).ID()
	all := respelt(id)
	for _, s := range all {
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, newRequest(s.method, s.target, s.body))
		if told := rec.Body.String(); rec.Code != http.StatusOK || strings.Contains(told, `"error":{`) {
			t.Errorf("%+v is answered %d %s", s, rec.Code, told)
		}
	}
	if len(all) < 250 {
		t.Errorf("only %d spellings", len(all))
	}
}

// TestMutations sends ten thousand valid requests with a fault in them, half of them in an unusual
// spelling: none of the answers is a 5xx, a panic or later than a second, and a refused request
// has changed nothing.
func TestMutations(t *testing.T) {
	const tries = 10_000
	var writes atomic.Int64

	w := newWorld(t, func(c *front.Config) {
		c.Wait, c.StreamAge = time.Millisecond, time.Millisecond
		c.Store = faulty.Store{Store: c.Store, After: func(c faulty.Call, r task.Record, err error) (task.Record, error) {
			if (c.Op == faulty.Create || c.Op == faulty.Commit) && err == nil {
				writes.Add(1)
			}
			return r, err
		}}
	})

	id := w.insert(anonymous, "seed", a2a.TaskStateSubmitted).ID()
	random := rand.New(rand.NewPCG(1, 2)) // the same at every run
	usual, spelt, refused := seeds(id), respelt(id), 0

	for i := range tries {
		all := [][]seed{usual, spelt}[i%2]
		s := all[random.IntN(len(all))]
		s.body = strings.ReplaceAll(s.body, `"messageId":"m`, fmt.Sprintf(`"messageId":"m%d-`, i))
		for range 1 + random.IntN(3) {
			s = s.mutate(random)
		}

		r := s.request(random)
		if r == nil {
			continue
		}

		before, used := writes.Load(), conformance.Processor()
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, r)
		if took := conformance.Processor() - used; took > time.Second {
			t.Errorf("%+v took %v of the processor", s, took)
		}

		told := rec.Body.String()
		if rec.Code >= 500 || strings.Contains(told, "panic") {
			t.Errorf("%+v: %d %s", s, rec.Code, told)
		}

		if rec.Code >= 400 || strings.Contains(told, `"error":{`) {
			refused++
			if n := writes.Load() - before; n != 0 {
				t.Errorf("%+v was refused after %d writes: %s", s, n, told)
			}
		}
	}

	// Both kinds must be many, or the test shows nothing.
	if refused < tries/3 || refused > tries*19/20 || writes.Load() < 100 {
		t.Errorf("%d of %d were refused, %d writes", refused, tries, writes.Load())
	}
}

func (s seed) request(random *rand.Rand) *http.Request {
	u, err := url.ParseRequestURI(s.target)
	if err != nil {
		return nil // net/http answers these itself
	}
	r := httptest.NewRequest("POST", "http://"+host+"/", strings.NewReader(s.body))
	r.Method, r.URL = s.method, u
	r.Header.Set("Content-Type", "application/json")
	switch random.IntN(20) {
	case 0:
		r.Header.Set("A2A-Version", []string{"1.0", "0.3", "1.1", "", "1.0.0"}[random.IntN(5)])
	case 1:
		r.Header.Set("Content-Type", []string{"text/plain", "application/a2a+json", "application/json; charset=utf-16", ""}[random.IntN(4)])
	case 2:
		r.Header.Set("A2A-Extensions", strings.Repeat("urn:x:y,", random.IntN(200)))
	}
	return r
}

// mutate changes one thing: in the text as bytes, or in its values.
func (s seed) mutate(random *rand.Rand) seed {
	switch n := random.IntN(10); {
	case n == 0:
		s.method = []string{"GET", "POST", "DELETE", "PUT", "HEAD"}[random.IntN(5)]
	case n <= 2:
		s.target = string(scramble(random, []byte(s.target)))
	case n <= 5 && s.body != "":
		s.body = string(scramble(random, []byte(s.body)))
	case s.body != "":
		var v any
		if json.Unmarshal([]byte(s.body), &v) == nil {
			text, err := json.Marshal(twist(random, v, 1+random.IntN(6)))
			if err == nil {
				s.body = string(text)
			}
		}
	default:
		s.target += fmt.Sprintf("&pageSize=%d&x=%c", random.IntN(200)-50, rune(random.IntN(0x3000)))
	}
	return s
}

// scramble cuts, doubles or changes a run of bytes.
func scramble(random *rand.Rand, b []byte) []byte {
	if len(b) == 0 {
		return b
	}
	at := random.IntN(len(b))
	end := min(len(b), at+1+random.IntN(8))
	switch random.IntN(4) {
	case 0:
		return slices.Concat(b[:at], b[end:])
	case 1:
		return slices.Concat(b[:end], b[at:])
	case 2:
		return slices.Concat(b[:at], []byte(odd[random.IntN(len(odd))]), b[end:])
	}
	c := bytes.Clone(b)
	c[at] ^= byte(1 << random.IntN(8))
	return c
}

var odd = []string{"", "\x00", "\xff", "\\ud800", "null", "1e400", "-1", "{", "]", `"`, "%", "%00", "%2F", "/", ":", ";", "&", "=", "😀", "__proto__", "..", "  "}

// twist changes one value of a JSON document, at most depth levels down.
func twist(random *rand.Rand, v any, depth int) any {
	odd := []any{nil, true, -1.0, 1e300, "", "x", strings.Repeat("x", 5000), []any{}, map[string]any{}, []any{nil}, "\u202e", "https://127.0.0.1/", "2026-01-02"}
	if depth > 0 {
		switch c := v.(type) {
		case map[string]any:
			var keys []string
			for k := range c {
				keys = append(keys, k)
			}

			slices.Sort(keys) // or every run would differ
			if len(keys) > 0 {
				k := keys[random.IntN(len(keys))]
				switch random.IntN(8) {
				case 0:
					delete(c, k)
				case 1:
					c[keys[random.IntN(len(keys))]] = c[k]
				default:
					c[k] = twist(random, c[k], depth-1)
				}

				return c
			}

		case []any:
			if len(c) > 0 {
				i := random.IntN(len(c))
				c[i] = twist(random, c[i], depth-1)
				if random.IntN(4) == 0 {
					c = append(c, c[i])
				}
				return c
			}
		}
	}

	return odd[random.IntN(len(odd))]
}
