package bus_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"errand/shared/bus"
)

func TestEventSurvivesItsEnvelope(t *testing.T) {
	want := bus.Event{Task: "t", Context: "c", Notification: 3, Kind: bus.KindState, State: "TASK_STATE_COMPLETED", Time: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)}
	body, err := json.Marshal(bus.Push{Message: bus.Message{Attributes: want}})
	if err != nil {
		t.Fatal(err)
	}
	var raw struct {
		Message struct{ Attributes map[string]string }
	}
	if err := json.Unmarshal(body, &raw); err != nil { // all attributes are strings
		t.Fatal(err)
	}
	got, err := bus.Parse(body)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" || got.ID() != "t/3" {
		t.Errorf("event %s after its envelope (-want +got):\n%s", got.ID(), diff)
	}
}

func TestBodyThatIsNoEventIsRefused(t *testing.T) {
	for _, body := range []string{
		``, `null`, `[]`, `{`, `{}`, `{"message":{}}`, `{"message":{"attributes":{"task":"t"}}}`,
		`{"message":{"attributes":{"task":"t","note":"0"}}}`, `{"message":{"attributes":{"task":"t","note":"x"}}}`,
		`{"message":{"attributes":{"task":"","note":"1"}}}`, `{"message":{"attributes":{"task":"t","note":"1","ce-time":"noon"}}}`,
	} {
		if e, err := bus.Parse([]byte(body)); err == nil {
			t.Errorf("Parse(%s) = %+v, want an error", body, e)
		}
	}
}

// The names of the attributes are promised to subscriptions that filter by them.
func TestAttributesAreACloudEvent(t *testing.T) {
	e := bus.Event{Task: "t", Context: "c", Notification: 3, Kind: bus.KindArtifact, Artifact: "a", Trace: "00-...", Time: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)}
	want := map[string]string{
		"ce-specversion": "1.0", "ce-type": "errand.task.artifact", "ce-source": "/errand", "ce-subject": "t", "ce-id": "t/3",
		"ce-time": "2026-01-02T03:04:05.000000006Z",
		"task":    "t", "context": "c", "note": "3", "kind": "artifact", "artifact": "a", "traceparent": "00-...",
	}
	if diff := cmp.Diff(want, e.Attributes()); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
}

// An event that the topic refuses would be published again for ever.
func TestValueThatTopicsRefuseIsLeftOut(t *testing.T) {
	e := bus.Event{Task: "t", Notification: 1, Kind: bus.KindArtifact}
	want := e.Attributes()
	for _, id := range []string{"", strings.Repeat("x", 1025), "half \xc3"} {
		e.Artifact = id
		if diff := cmp.Diff(want, e.Attributes()); diff != "" {
			t.Errorf("artifact %.10q: attributes (-want +got):\n%s", id, diff)
		}
	}
	e.Artifact = strings.Repeat("x", 1024)
	if e.Attributes()["artifact"] != e.Artifact {
		t.Error("an id of 1024 bytes was left out")
	}
}
