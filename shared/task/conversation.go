package task

import "github.com/a2aproject/a2a-go/v2/a2a"

// ConversationKey is the key of a message's metadata by which its sender says how much of the
// conversation before it belongs to it. It is the message's, and not its request's, so that it
// is part of what a fingerprint recognises.
const ConversationKey = "conversation"

// noConversation is its only value: no earlier tasks of the context.
const noConversation = "none"

// Alone reports whether the sender of a message wants it answered without the earlier tasks of
// its context. Tasks that it names itself, and the earlier messages of its own task, are no such.
// fault says what is wrong with a value that is none, for its sender.
func Alone(m *a2a.Message) (alone bool, fault string) {
	v, named := m.Metadata[ConversationKey]
	switch {
	case !named:
		return false, ""
	case v == noConversation:
		return true, ""
	}
	return false, `must be "none", for an answer without the earlier tasks of the context, or left out`
}
