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
	"maps"
	"strconv"
	"time"
	"unicode/utf8"
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

// An Event is one notified change of a task. Its JSON form is the attributes of the
// message, all of them strings, by which subscriptions filter: those of a CloudEvent
// without data ([Event.Attributes]) and these.
type Event struct {
	Task     string    `json:"task"`                  // the task's id
	Context  string    `json:"context"`               // the conversation's id
	Note     int       `json:"note,string"`           // the event's number within the task, from 1, without gaps
	Kind     string    `json:"kind"`                  // KindState or KindArtifact
	State    string    `json:"state,omitempty"`       // the state, as A2A spells it; empty for an artifact
	Artifact string    `json:"artifact,omitempty"`    // the artifact's id; empty for a state
	Trace    string    `json:"traceparent,omitempty"` // W3C traceparent; empty: a publisher puts in that of its context
	Time     time.Time `json:"ce-time"`               // when it happened
}

// Attributes of a CloudEvent that are the same in all our events. The prefix is that
// of the binary mode of the Pub/Sub binding.
// https://github.com/googleapis/google-cloudevents/blob/main/docs/spec/pubsub.md
const (
	specVersion = "1.0"
	source      = "/errand"
	typePrefix  = "errand.task." // and the kind
)

// maxValue is how many bytes the value of an attribute may have; the service refuses
// the whole message otherwise. https://cloud.google.com/pubsub/quotas#resource_limits
const maxValue = 1024

// Attributes are the event as a topic carries it. A value that no topic would take is
// left out (an executor of somebody else's may name its artifacts as it likes): the
// event must go out, and whoever wants to know more reads the task.
func (e Event) Attributes() map[string]string {
	a := map[string]string{
		"ce-specversion": specVersion,
		"ce-type":        typePrefix + e.Kind,
		"ce-source":      source,
		"ce-subject":     e.Task,
		"ce-id":          e.ID(),
		"ce-time":        e.Time.Format(time.RFC3339Nano),
		"task":           e.Task,
		"context":        e.Context,
		"note":           strconv.Itoa(e.Note),
		"kind":           e.Kind,
		"state":          e.State,
		"artifact":       e.Artifact,
		"traceparent":    e.Trace,
	}
	maps.DeleteFunc(a, func(_, value string) bool {
		return value == "" || len(value) > maxValue || !utf8.ValidString(value)
	})
	return a
}

// MarshalJSON writes the attributes.
func (e Event) MarshalJSON() ([]byte, error) { return json.Marshal(e.Attributes()) }

// ID is stable over repetitions: task and note.
func (e Event) ID() string { return e.Task + "/" + strconv.Itoa(e.Note) }

// Push is the envelope of a Pub/Sub push request. Our messages have no data: the
// attributes say it all.
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

// Parse reads the event out of a push request's body. An error means that the
// body is no event and never will be: the delivery is to be acknowledged.
func Parse(body []byte) (Event, error) {
	var p Push
	if err := json.Unmarshal(body, &p); err != nil {
		return Event{}, fmt.Errorf("not the push envelope of a task event: %w", err)
	}
	e := p.Message.Attributes
	if e.Note < 1 || e.Task == "" {
		return Event{}, fmt.Errorf("not a task event: attributes task and note are required")
	}
	return e, nil
}
