package bus_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"errand/shared/bus"
)

func TestEventSurvivesItsEnvelope(t *testing.T) {
	want := bus.Event{Task: "t", Context: "c", Note: 3, Kind: bus.KindState, State: "TASK_STATE_COMPLETED", Time: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)}
	body, err := json.Marshal(bus.Push{Message: bus.Message{Attributes: want}})
	if err != nil {
		t.Fatal(err)
	}
	var raw struct {
		Message struct{ Attributes map[string]string }
	}
	if err := json.Unmarshal(body, &raw); err != nil { // attributes are strings, all of them
		t.Fatal(err)
	}
	got, err := bus.Parse(body)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" || got.ID() != "t/3" {
		t.Errorf("ID %s\n%s", got.ID(), diff)
	}
}

func TestWhatIsNoEventIsRefused(t *testing.T) {
	for _, body := range []string{
		``, `null`, `[]`, `{`, `{}`, `{"message":{}}`, `{"message":{"attributes":{"task":"t"}}}`,
		`{"message":{"attributes":{"task":"t","note":"0"}}}`, `{"message":{"attributes":{"task":"t","note":"x"}}}`,
		`{"message":{"attributes":{"task":"","note":"1"}}}`, `{"message":{"attributes":{"task":"t","note":"1","time":"noon"}}}`,
	} {
		if e, err := bus.Parse([]byte(body)); err == nil {
			t.Errorf("Parse(%s) = %+v", body, e)
		}
	}
}
