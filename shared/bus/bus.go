// Package bus is the port to topics. It announces the events of tasks to all subscribers, and
// it knows the messages of others that become tasks ([Letter]).
//
// It is not the record: events are thin, may be repeated or come out of order, and a
// subscriber reads the task when it needs more.
package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

// A Publisher announces events. It is safe for concurrent use.
type Publisher interface {
	// Publish returns nil when the topic has durably accepted every event. After an error
	// the caller publishes all of them again later (R7). Subscribers may see an event twice
	// and out of order.
	Publish(ctx context.Context, events ...Event) error
}

// PathEvents is the path to which a push subscription delivers, by POST.
const PathEvents = "/events"

// Kinds of events.
const (
	KindState    = "state"    // the task is terminal or interrupted
	KindArtifact = "artifact" // an artifact is complete
)

// An Event is one notification of a task. Its JSON form is the attributes of the message,
// which are all strings and which subscriptions filter by: the attributes of a CloudEvent
// without data ([Event.Attributes]), and these.
type Event struct {
	Task         string    `json:"task"`                  // the task's id
	Context      string    `json:"context"`               // the conversation's id
	Notification int       `json:"note,string"`           // the event's number within the task, from 1, without gaps
	Kind         string    `json:"kind"`                  // KindState or KindArtifact
	State        string    `json:"state,omitempty"`       // the state in A2A's spelling; empty for an artifact
	Artifact     string    `json:"artifact,omitempty"`    // the artifact's id; empty for a state
	Trace        string    `json:"traceparent,omitempty"` // W3C traceparent; if empty, a publisher fills in the one of its context
	Time         time.Time `json:"ce-time"`               // when the event happened
}

// Attributes returns the event as a topic carries it: the strings of its JSON form.
func (e Event) Attributes() map[string]string {
	data, err := e.MarshalJSON()
	var all map[string]string
	if err == nil {
		err = json.Unmarshal(data, &all)
	}
	if err != nil { // strings always encode
		panic(fmt.Sprintf("encoding an event: %v", err))
	}
	return all
}

// MarshalJSON writes the attributes. It leaves out a value that no topic would take (a
// fork's executor may name its artifacts freely), because the event itself must be
// published, and a subscriber that needs more reads the task.
func (e Event) MarshalJSON() ([]byte, error) {
	return json.Marshal(attributes{
		SpecVersion:  "1.0",
		Type:         "errand.task." + e.Kind,
		Source:       "/errand",
		Subject:      fit(e.Task),
		ID:           fit(e.ID()),
		Time:         e.Time.Format(time.RFC3339Nano),
		Task:         fit(e.Task),
		Context:      fit(e.Context),
		Notification: strconv.Itoa(e.Notification),
		Kind:         e.Kind,
		State:        fit(e.State),
		Artifact:     fit(e.Artifact),
		Trace:        fit(e.Trace),
	})
}

// attributes are the written form; an Event is the form that is read. The fields with the
// prefix ce- belong to the CloudEvent, in the binary mode of the Pub/Sub binding.
// https://github.com/googleapis/google-cloudevents/blob/main/docs/spec/pubsub.md
type attributes struct {
	SpecVersion  string `json:"ce-specversion"`
	Type         string `json:"ce-type"`
	Source       string `json:"ce-source"`
	Subject      string `json:"ce-subject,omitempty"`
	ID           string `json:"ce-id,omitempty"`
	Time         string `json:"ce-time"`
	Task         string `json:"task,omitempty"`
	Context      string `json:"context,omitempty"`
	Notification string `json:"note"`
	Kind         string `json:"kind,omitempty"`
	State        string `json:"state,omitempty"`
	Artifact     string `json:"artifact,omitempty"`
	Trace        string `json:"traceparent,omitempty"`
}

// fit is value, or empty if the service would refuse the whole message because of it.
// https://cloud.google.com/pubsub/quotas#resource_limits
func fit(value string) string {
	if len(value) > 1024 || !utf8.ValidString(value) {
		return ""
	}
	return value
}

// ID is the same for each repetition of the event: task and number of the notification.
func (e Event) ID() string { return e.Task + "/" + strconv.Itoa(e.Notification) }

// Push is the envelope of a Pub/Sub push request. Our messages have no data, because the
// attributes hold everything.
// https://cloud.google.com/pubsub/docs/push#receive_push
type Push struct {
	Message      Message `json:"message"`
	Subscription string  `json:"subscription"`
}

// A Message is one message of a Push.
type Message struct {
	Attributes  Event     `json:"attributes"`
	MessageID   string    `json:"messageId"`
	PublishTime time.Time `json:"publishTime"`
}

// Parse reads the event out of a push request's body. An error means that the body is no
// event and never will be: the handler must acknowledge the delivery.
func Parse(body []byte) (Event, error) {
	var p Push
	if err := json.Unmarshal(body, &p); err != nil {
		return Event{}, fmt.Errorf("not the push envelope of a task event: %w", err)
	}
	e := p.Message.Attributes
	if e.Notification < 1 || e.Task == "" {
		return Event{}, fmt.Errorf("not a task event: attributes task and note are required")
	}
	return e, nil
}
