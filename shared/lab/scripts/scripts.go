// Package scripts decides the answers of the stand-in model for tests: prepared replies, one
// after the other, and replies that fail as a model service fails.
//
//	script := scripts.New(scripts.Throttle(time.Second), standin.Text("done"))
//	client := standin.New(script.Answer).Client()
//	requests := script.Requests()
//
// It is not a model service: it chooses replies, and [standin.Server] speaks the protocol.
package scripts

import (
	"context"
	"net/http"
	"sync"
	"time"

	"google.golang.org/genai"

	"errand/shared/adapters/standin"
)

// A Script gives replies and keeps every request. It is safe for concurrent use.
type Script struct {
	mu      sync.Mutex
	replies []standin.Reply
	decide  standin.Answer
	seen    []standin.Request
}

// New makes a Script of replies, one for each call that generates content. After the last
// reply the Script answers 400, which no client retries.
func New(replies ...standin.Reply) *Script { return &Script{replies: replies} }

// Record makes a Script that passes every request to decide.
func Record(decide standin.Answer) *Script { return &Script{decide: decide} }

// Answer is the method to pass to [standin.New]. Requests that generate nothing
// (countTokens, get) or only one token, as a probe does, succeed and use up no reply.
func (s *Script) Answer(ctx context.Context, r standin.Request) standin.Reply {
	s.mu.Lock()
	s.seen = append(s.seen, r)
	decide := s.decide
	var next standin.Reply

	switch {
	case decide != nil || (r.Op != standin.OpStream && r.Op != standin.OpGenerate):
	case r.Config.MaxOutputTokens == 1:
		next = Finish("MAX_TOKENS")
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

// Requests lists the requests so far, in order.
func (s *Script) Requests() []standin.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]standin.Request(nil), s.seen...)
}

// Finish is an answer with a finish reason such as MAX_TOKENS or SAFETY.
func Finish(reason string, chunks ...string) standin.Reply {
	r := standin.Text(chunks...)
	r.Chunks[len(r.Chunks)-1].Candidates[0].FinishReason = genai.FinishReason(reason)
	return r
}

// Block refuses the prompt itself, for a reason such as SAFETY.
func Block(reason string) standin.Reply {
	return standin.Reply{Chunks: []*genai.GenerateContentResponse{{
		PromptFeedback: &genai.GenerateContentResponsePromptFeedback{BlockReason: genai.BlockedReason(reason)},
		UsageMetadata:  &genai.GenerateContentResponseUsageMetadata{PromptTokenCount: 1, TotalTokenCount: 1},
	}}}
}

// Fail answers with an error, for example Fail(500, "INTERNAL", "it broke").
func Fail(code int, status, message string) standin.Reply {
	return standin.Reply{Error: &genai.APIError{Code: code, Status: status, Message: message}}
}

// Throttle answers 429. It names the time to wait in the form that Gemini uses, unless wait
// is zero.
func Throttle(wait time.Duration) standin.Reply {
	r := Fail(http.StatusTooManyRequests, "RESOURCE_EXHAUSTED", "quota exceeded")
	if wait > 0 {
		r.Error.Details = []map[string]any{
			{"@type": "type.googleapis.com/google.rpc.QuotaFailure"},
			{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": wait.String()},
		}
	}
	return r
}

// CutMidRune sends text and then breaks the connection inside the first rune of a second
// chunk.
func CutMidRune(text string) standin.Reply {
	r := standin.Text(text)
	r.Chunks[0].Candidates[0].FinishReason, r.Chunks[0].UsageMetadata = "", nil
	r.Raw = "data: {\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[{\"text\":\"\xe2\x82"
	r.Cut = true
	return r
}
