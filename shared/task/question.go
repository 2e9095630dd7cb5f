package task

import (
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

// A question about a call, and its answer, have a form as data beside their words (R16e):
//
//	{"question": {"kind": "doubt", "key": KEY, "tool": NAME, "arguments": {...}, "hash": HASH, "expires": TIME, "answers": [...]}}
//	{"answer": {"key": KEY, "hash": HASH, "answer": "it happened"}}

// A CallQuestion is a question about a call, for a program to read.
type CallQuestion struct {
	Kind      string // doubt: it is not known whether the call happened
	Key       string // of the call
	Tool      string
	Arguments any    // the decoded arguments
	Hash      string // of the name and the arguments
	Expires   time.Time
	Answers   []string // of which one must be given
}

// Part is the question as a part of a message.
func (q CallQuestion) Part() *a2a.Part {
	answers := make([]any, len(q.Answers))
	for i, a := range q.Answers {
		answers[i] = a
	}
	return a2a.NewDataPart(map[string]any{"question": map[string]any{
		"kind": q.Kind, "key": q.Key, "tool": q.Tool, "arguments": q.Arguments, "hash": q.Hash,
		"expires": q.Expires.UTC().Format(time.RFC3339), "answers": answers,
	}})
}

// A CallAnswer is an answer to a question about a call, as a program gives it.
type CallAnswer struct{ Key, Hash, Answer string }

// AnswerIn reads an answer from a part of a message, and reports whether the part is one.
func AnswerIn(p *a2a.Part) (a CallAnswer, ok bool) {
	data, ok := p.Data().(map[string]any)
	if !ok || len(data) != 1 {
		return CallAnswer{}, false
	}
	fields, ok := data["answer"].(map[string]any)
	if !ok {
		return CallAnswer{}, false
	}
	a.Key, _ = fields["key"].(string)
	a.Hash, _ = fields["hash"].(string)
	a.Answer, _ = fields["answer"].(string)
	return a, a.Key != "" && a.Answer != ""
}
