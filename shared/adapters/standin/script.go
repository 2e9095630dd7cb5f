package standin

import (
	"context"
	"net/http"
	"sync"
)

// A Script says prepared replies, one per answer asked for, and keeps every
// request. It is safe for concurrent use.
type Script struct {
	mu      sync.Mutex
	replies []Reply
	decide  Answer
	seen    []Request
}

// NewScript makes a Script of replies. Once they are used up it refuses with
// 400, which nobody tries again.
func NewScript(replies ...Reply) *Script { return &Script{replies: replies} }

// Record makes a Script that says what decide decides.
func Record(decide Answer) *Script { return &Script{decide: decide} }

// Answer is the Script as an Answer, for [New]. What is not a request for an
// answer (countTokens, get) is granted without using up a reply.
func (s *Script) Answer(ctx context.Context, r Request) Reply {
	s.mu.Lock()
	s.seen = append(s.seen, r)
	decide := s.decide
	var next Reply
	switch {
	case decide != nil || (r.Op != OpStream && r.Op != OpGenerate):
	case len(s.replies) == 0:
		next = Fail(http.StatusBadRequest, "INVALID_ARGUMENT", "the script has no more replies")
	default:
		next, s.replies = s.replies[0], s.replies[1:]
	}
	s.mu.Unlock()
	if decide != nil {
		return decide(ctx, r)
	}
	return next
}

// Requests gives what was asked so far, in order.
func (s *Script) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.seen...)
}
