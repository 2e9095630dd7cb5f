// Package bus is the port to the event topic: what happened to tasks, told to
// whoever subscribes.
//
// It is not the record: events are thin, may be repeated or come out of order,
// and every subscriber reads the task when it wants to know more.
package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// A Publisher announces events. It is safe for concurrent use.
type Publisher interface {
	// Publish returns nil when every event is durably accepted by the topic, or
	// an error when any is not: then the caller publishes all of them again later
	// (R7). Subscribers may see an event twice and out of order.
	Publish(ctx context.Context, events ...Event) error
}

// PathEvents is where a push subscription delivers, by POST.
const PathEvents = "/events"

// Kinds of events.
const (
	KindState    = "state"    // the task is terminal or interrupted
	KindArtifact = "artifact" // an artifact is complete
)

// An Event is one notified change of a task.
type Event struct {
	Task     string    // the task's id
	Context  string    // the conversation's id
	Note     int       // the event's number within the task, from 1, without gaps
	Kind     string    // KindState or KindArtifact
	State    string    // the state, as A2A spells it; empty for an artifact
	Artifact string    // the artifact's id; empty for a state
	Time     time.Time // when it happened
}

// ID is stable over repetitions: task and note.
func (e Event) ID() string { return e.Task + "/" + strconv.Itoa(e.Note) }

// Attributes are what subscriptions filter by.
func (e Event) Attributes() map[string]string {
	a := map[string]string{
		"task":    e.Task,
		"context": e.Context,
		"note":    strconv.Itoa(e.Note),
		"kind":    e.Kind,
		"time":    e.Time.UTC().Format(time.RFC3339Nano),
	}
	if e.State != "" {
		a["state"] = e.State
	}
	if e.Artifact != "" {
		a["artifact"] = e.Artifact
	}
	return a
}

// Push is the envelope of a Pub/Sub push request.
// https://cloud.google.com/pubsub/docs/push#receive_push
type Push struct {
	Message struct {
		Attributes  map[string]string `json:"attributes"`
		Data        []byte            `json:"data,omitempty"`
		MessageID   string            `json:"messageId"`
		PublishTime time.Time         `json:"publishTime"`
	} `json:"message"`
	Subscription string `json:"subscription"`
}

// Parse reads the event out of a push request's body. An error means that the
// body is no event and never will be: the delivery is to be acknowledged.
func Parse(body []byte) (Event, error) {
	var p Push
	if err := json.Unmarshal(body, &p); err != nil {
		return Event{}, fmt.Errorf("not a push envelope: %w", err)
	}
	a := p.Message.Attributes
	note, err := strconv.Atoi(a["note"])
	if err != nil || note < 1 || a["task"] == "" {
		return Event{}, fmt.Errorf("not a task event: attributes task and note are required")
	}
	at, err := time.Parse(time.RFC3339Nano, a["time"])
	if err != nil {
		return Event{}, fmt.Errorf("not a task event: attribute time: %w", err)
	}
	return Event{
		Task: a["task"], Context: a["context"], Note: note, Kind: a["kind"],
		State: a["state"], Artifact: a["artifact"], Time: at,
	}, nil
}
