package front_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"
)

// raw is every event of a stream as the client gets it: the data behind "data: ".
func (s *stream) raw() []string {
	var all []string
	for line := range strings.Lines(s.text()) {
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			all = append(all, strings.TrimSuffix(data, "\n"))
		}
	}
	return all
}

// bodies is every event of a stream, without the frame of the binding.
func (s *stream) bodies(t testing.TB) []map[string]map[string]any {
	t.Helper()
	var all []map[string]map[string]any
	for _, data := range s.raw() {
		raw, _, err := s.via.event([]byte(data))
		var ev map[string]map[string]any
		if err == nil {
			err = json.Unmarshal(raw, &ev)
		}
		if err != nil {
			t.Fatalf("%v: %s", err, data)
		}
		all = append(all, ev)
	}
	return all
}

// Progress is streamed while the task works, and not only at its end.
//
// Shows S4.
func TestProgressIsStreamedAtOnce(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		s := w.open(streaming, `{"message":`+message("m", "")+`}`, nil)
		s.await(t, 1)
		r := w.claim(w.onlyTask(t))
		s.await(t, 1)
		for _, text := range []string{"one", "two"} {
			r = w.say(r, chunk(a2a.ArtifactID(text), text, false))
			s.await(t, 1)
			if !strings.Contains(s.text(), `"text":"`+text+`"`) {
				t.Errorf("%q is not told: %s", text, s.text())
			}
		}
		w.end(r, a2a.TaskStateCompleted)
		s.ended(t)
	})
}

// A stream that cannot begin is refused as a send is, with the same error: over JSON-RPC as the
// only event of a stream, over HTTP+JSON in one piece, with the status of the error.
//
// Shows S4, decision 25.
func TestStreamsAreRefusedAsSendsAre(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		done := w.insert(anonymous, "done", a2a.TaskStateCompleted).ID()
		w.insert(anonymous, "used", a2a.TaskStateWorking)

		for params, status := range map[string]int{
			sending(message("m", `"parts":[]`)):                                       400,
			sending(message("m", `"taskId":"`+done+`"`)):                              400,
			sending(message("m", `"taskId":"nobody-has-this"`)):                       404,
			sending(message("used", `"parts":[{"text":"other"}]`)):                    400,
			sending(message("m", `"parts":[{"url":"https://example.com"}]`)):          400,
			configured(message("m", ""), `"acceptedOutputModes":["image/png"]`):       400,
			configured(message("m", ""), `"taskPushNotificationConfig":{"url":"/x"}`): 400,
		} {
			sent, streamed := w.call(t, send, params), w.call(t, streaming, params)
			if diff := cmp.Diff(sent.Error, streamed.Error); diff != "" || sent.Error == nil {
				t.Errorf("%s is answered\n%s\n%s", params, sent.body, streamed.body)
			}
			want := "application/json"
			if b.name == jsonrpc.name {
				status, want = 200, "text/event-stream"
			}
			if kind := streamed.header.Get("Content-Type"); streamed.status != status || kind != want {
				t.Errorf("%s is answered %d as %s, want %d", params, streamed.status, kind, status)
			}
		}
	})
}

// Shows S6.
func TestSubscribeNeedsATaskThatGoesOn(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t, shortStreams)
		for state, code := range map[a2a.TaskState]int{
			a2a.TaskStateCompleted: -32004, a2a.TaskStateFailed: -32004, a2a.TaskStateCanceled: -32004, a2a.TaskStateRejected: -32004,
			a2a.TaskStateSubmitted: 0, a2a.TaskStateWorking: 0, a2a.TaskStateInputRequired: 0, a2a.TaskStateAuthRequired: 0,
		} {
			if got := w.code(t, subscribe, byID(w.insert(anonymous, state.String(), state).ID())); got != code {
				t.Errorf("%s: code %d, want %d", state, got, code)
			}
		}
		for _, id := range []string{"nobody-has-this", w.insert("other", "m", a2a.TaskStateWorking).ID()} {
			if got := w.code(t, subscribe, byID(id)); got != -32001 {
				t.Errorf("subscribing to %s: code %d", id, got)
			}
		}
	})
}

// Chunks are joined by the artifact's id: append adds, its absence begins or replaces,
// lastChunk ends. The result is the artifact of the task.
//
// Shows S13.
func TestArtifactChunksAreJoined(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		r := w.insert(anonymous, "m", a2a.TaskStateWorking)
		s := w.open(subscribe, byID(r.ID()), nil)
		s.await(t, 1)
		last := chunk("a", "three", true).(*a2a.TaskArtifactUpdateEvent)
		last.LastChunk = true

		for _, ev := range []a2a.Event{chunk("a", "zero", false), chunk("a", "one ", false), chunk("b", "beside", false), chunk("a", "two ", true), last} {
			r = w.say(r, ev)
			s.await(t, 1)
		}

		w.end(r, a2a.TaskStateCompleted)
		s.ended(t)
		var flags []string
		made, order := map[string]string{}, []string(nil)

		for _, ev := range s.bodies(t) {
			up := ev["artifactUpdate"]
			if up == nil {
				continue
			}

			a := up["artifact"].(map[string]any)
			id, text := a["artifactId"].(string), a["parts"].([]any)[0].(map[string]any)["text"].(string)
			flag := id

			if up["append"] == true {
				flag += " append"
			} else if _, ok := made[id]; ok {
				made[id] = ""
			} else {
				order = append(order, id)
			}

			if up["lastChunk"] == true {
				flag += " last"
			}

			made[id] += text
			flags = append(flags, flag)
		}

		if diff := cmp.Diff([]string{"a", "a", "b", "a append", "a append last"}, flags); diff != "" {
			t.Errorf("flags of the artifact updates (-want +got):\n%s", diff)
		}

		var stored []string
		for _, a := range w.call(t, "GetTask", byID(r.ID())).task().Artifacts {
			stored = append(stored, joined(a))
		}

		if diff := cmp.Diff([]string{made[order[0]], made[order[1]]}, stored); diff != "" || stored[0] != "one two three" {
			t.Errorf("stored artifacts (-want +got):\n%s", diff)
		}
	})
}

func joined(p parts) string {
	var s strings.Builder
	for _, part := range p.Parts {
		s.WriteString(part.Text)
	}
	return s.String()
}

// Each event is one line: a JSON-RPC response, or the bare StreamResponse with exactly one
// field. No field of an older version is in it.
//
// Shows S14, S16, decision 35.
func TestEventsOf10(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		s := w.open(streaming, `{"message":`+message("m", "")+`}`, nil)
		s.await(t, 1)
		w.answer(w.onlyTask(t))
		s.ended(t)
		all := s.raw()
		for i, data := range all {
			var outer map[string]json.RawMessage
			if err := json.Unmarshal([]byte(data), &outer); err != nil {
				t.Fatalf("%v: %s", err, data)
			}

			if b.name == jsonrpc.name {
				if string(outer["jsonrpc"]) != `"2.0"` || string(outer["id"]) != "7" || len(outer) != 3 {
					t.Errorf("event %d is no response to request 7: %s", i, data)
				}
				if err := json.Unmarshal(outer["result"], &outer); err != nil {
					t.Fatal(err)
				}

				maps.DeleteFunc(outer, func(k string, _ json.RawMessage) bool { return k == "jsonrpc" || k == "id" || k == "result" })
			}

			want := []string{"task", "statusUpdate", "artifactUpdate", "statusUpdate"}[i]
			if keys := slices.Collect(maps.Keys(outer)); !slices.Equal(keys, []string{want}) {
				t.Errorf("event %d has %v, want %s: %s", i, keys, want, data)
			}

			for _, old := range []string{`"kind"`, `"final"`, `"index"`} {
				if strings.Contains(data, old) {
					t.Errorf("event %d has %s: %s", i, old, data)
				}
			}
		}

		if len(all) != 4 {
			t.Errorf("%d events", len(all))
		}
	})
}

// Events of 0.3 have kinds and mark the final update, and tasks/resubscribe resumes the
// stream.
//
// Shows S17.
func TestStreamsOf03(t *testing.T) {
	w := newWorld(t)
	const m = `{"message":{"messageId":"m","role":"user","parts":[{"kind":"text","text":"hi"}]}}`
	sent := w.follow(newRequest("POST", "/", request("message/stream", m)), nil)
	sent.await(t, 1)
	id := w.onlyTask(t)
	again := w.follow(newRequest("POST", "/", request("tasks/resubscribe", byID(id))), nil)
	restful := w.follow(newRequest("GET", "/v1/tasks/"+id+":subscribe", ""), nil)
	again.await(t, 1)
	restful.await(t, 1)

	w.answer(id)
	for _, s := range []*stream{sent, again} {
		s.over(t)
		var got []string

		for _, data := range s.raw() {
			var ev struct {
				Result struct {
					Kind   string
					Final  *bool
					Status struct{ State string }
				}
			}
			if err := json.Unmarshal([]byte(data), &ev); err != nil {
				t.Fatal(err)
			}

			line := ev.Result.Kind + " " + ev.Result.Status.State
			if f := ev.Result.Final; f != nil && *f {
				line += " final"
			} else if (f != nil) != (ev.Result.Kind == "status-update") {
				t.Errorf("final is wrong: %s", data)
			}

			got = append(got, line)
		}

		want := []string{"task submitted", "status-update working", "artifact-update ", "status-update completed final"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	}

	restful.over(t)
	var got []string

	for _, data := range restful.raw() {
		var ev map[string]struct {
			Final  bool
			Status struct{ State string }
		}
		if err := json.Unmarshal([]byte(data), &ev); err != nil {
			t.Fatal(err)
		}

		for name, e := range ev {
			got = append(got, name+" "+short(e.Status.State)+map[bool]string{true: " final"}[e.Final])
		}
	}

	want := []string{"task SUBMITTED", "statusUpdate WORKING", "artifactUpdate ", "statusUpdate COMPLETED final"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}
