package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"
)

// PathSubmit is the path to which the subscriptions of submissions deliver, by POST.
const PathSubmit = "/submit"

// A Letter is a message that others have published to a topic of theirs or ours, with any
// content. Whoever may publish writes all of it but ID, Subscription and Published, which the
// service sets.
type Letter struct {
	Data       []byte
	Attributes map[string]string

	ID           string    // unique within the topic
	Subscription string    // projects/PROJECT/subscriptions/NAME, by which it came
	Published    time.Time // when the topic took it
}

// Letters send letters to a topic. They are safe for concurrent use.
type Letters interface {
	// Send returns nil when the topic has durably accepted the data and the attributes. After an
	// error the caller sends them again later, and a subscriber may see them twice.
	Send(ctx context.Context, l Letter) error
}

// ParseLetter reads a letter out of the body of a push request. An error means that the body is no
// envelope of Pub/Sub and never will be: the subscription is not set up as it must be.
// https://cloud.google.com/pubsub/docs/push#receive_push
func ParseLetter(body []byte) (Letter, error) {
	var p struct {
		Message *struct {
			Data       []byte            `json:"data"` // in base64
			Attributes map[string]string `json:"attributes"`
			ID         string            `json:"messageId"`
			Published  time.Time         `json:"publishTime"`
		} `json:"message"`
		Subscription string `json:"subscription"`
	}
	err := json.Unmarshal(body, &p)
	if err != nil || p.Message == nil || p.Message.ID == "" || p.Subscription == "" {
		return Letter{}, fmt.Errorf("not the push envelope of a message: message.messageId and subscription are required; is the subscription one of push with payload unwrapping?")
	}
	return Letter{
		Data: p.Message.Data, Attributes: p.Message.Attributes, ID: p.Message.ID, Subscription: p.Subscription, Published: p.Message.Published,
	}, nil
}

// Limits of the attributes of a message.
// https://cloud.google.com/pubsub/quotas#resource_limits
const (
	maxAttributes = 100
	maxKey        = 256  // bytes
	maxValue      = 1024 // bytes
)

// With returns the letter with more attributes. They replace others of the same names. Those
// that no topic takes are left out or cut: names of Google's own, and others than the first
// hundred.
func (l Letter) With(more map[string]string) Letter {
	all := make(map[string]string, len(l.Attributes)+len(more))
	for k, v := range more {
		all[k] = cut(v)
	}

	var names []string
	for k := range l.Attributes {
		names = append(names, k)
	}
	slices.Sort(names)
	for _, k := range names {
		_, taken := all[k]
		if taken || len(all) >= maxAttributes || k == "" || len(k) > maxKey || len(k) >= 4 && k[:4] == "goog" || l.Attributes[k] != cut(l.Attributes[k]) {
			continue
		}
		all[k] = l.Attributes[k]
	}

	l.Attributes = all
	return l
}

// cut is the beginning of a value that a topic takes.
func cut(value string) string {
	if len(value) > maxValue {
		value = value[:maxValue]
		for len(value) > 0 && !utf8.ValidString(value) {
			value = value[:len(value)-1]
		}
	}
	if !utf8.ValidString(value) {
		return ""
	}
	return value
}
