package submit

import (
	"context"
	"time"

	"errand/shared/bus"
)

// Names of the attributes that a refused message gets. Its own attributes stay.
const (
	Reason       = "errand-reason"       // the fault and its remedy
	Field        = "errand-field"        // the field at fault; absent: the whole message
	Subscription = "errand-subscription" // by which the message came
	MessageID    = "errand-message-id"   // that it had in its topic
	PublishTime  = "errand-publish-time" // when it was published there
)

// refuse publishes a message that never becomes a task to the topic of refused messages, with
// its data, its attributes and the reason. The error says that it is not there yet. Pub/Sub's own
// dead letters have no reason, and count a message that waits for a limit like one at fault.
// https://cloud.google.com/pubsub/docs/dead-letter-topics
func (s *Submit) refuse(ctx context.Context, l bus.Letter, why *refusal) error {
	more := map[string]string{Reason: why.reason, Subscription: l.Subscription, MessageID: l.ID, PublishTime: l.Published.UTC().Format(time.RFC3339Nano)}
	if why.field != "" {
		more[Field] = why.field
	}
	if err := s.cfg.Refused.Send(ctx, l.With(more)); err != nil {
		s.cfg.Log.ErrorContext(ctx, "a refused message cannot be published, and comes again", "subscription", l.Subscription, "message", l.ID, "err", err)
		return err
	}
	s.cfg.Log.WarnContext(ctx, "a submitted message was refused", "subscription", l.Subscription, "message", l.ID)
	return nil
}
