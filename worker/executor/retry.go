package executor

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"errand/shared/model"
)

// Repeats of a step whose reply was no answer. Every one costs the whole prompt again.
const (
	maxMalformed = 3 // in a row, each with a hint: the calls could not be read
	maxOdd       = 1 // for every other reason
)

// A retry counts the replies in a row that were no answer.
type retry struct {
	malformed, odd int
	hint           string // for the model, about its last reply
}

// again reports whether the step is worth another try at once, and prepares it. If not,
// verdict ends the turn. The gate makes an error of a stream without a reason.
func (t *turn) again(s step) bool {
	wrong := malformed(s.finish)
	switch {
	case s.finish == model.FinishStop, s.finish == model.FinishMaxTokens, s.finish == model.FinishNone, refused(s.finish) != "":
		return false

	case wrong != "":
		t.answer.clear()
		t.retry.malformed++
		t.retry.hint = t.hint(s, wrong)
		return t.retry.malformed <= maxMalformed

	case s.finish == "MISSING_THOUGHT_SIGNATURE" && !t.unsign():
		return false
	}

	if t.retry.odd++; t.retry.odd > maxOdd {
		return false
	}
	t.answer.clear()
	return true
}

// unsigned reports whether an error is about the signatures of stored calls, which the model
// refuses, and leaves them out for another try.
// https://ai.google.dev/gemini-api/docs/thought-signatures
func (t *turn) unsigned(err error) bool {
	e, ok := errors.AsType[*model.Error](err)
	if !ok || e.Kind() != model.OfMessage {
		return false
	}
	about := strings.ReplaceAll(strings.ToLower(e.Message), "_", " ")
	return strings.Contains(about, "thought signature") && t.unsign()
}

// unsign leaves out the signatures of the conversation, and reports whether it had calls,
// which need them.
func (t *turn) unsign() bool {
	before, one := spoken(t.view.contents)
	now, other := spoken(t.history)
	if one || other {
		t.view.contents, t.history = before, now
	}
	return one || other
}

// doubts reports whether the model has refused a request with turns that did not complete, and
// leaves them out for another try: one of them may be the reason. A turn that completed is
// none, because the model has answered it.
func (t *turn) doubts(s step, err error) bool {
	e, ofModel := errors.AsType[*model.Error](err)
	no := err == nil && refused(s.finish) != "" || ofModel && e.Kind() == model.OfMessage
	if !no || !t.view.doubted {
		return false
	}
	t.answer.clear()
	t.known = reckoning{}
	t.show(true)
	return true
}

// malformed says what is wrong with the calls of a reply, and is empty for every reason that
// is not about them.
// https://ai.google.dev/api/generate-content#FinishReason
func malformed(finish string) string {
	switch finish {
	case "MALFORMED_FUNCTION_CALL":
		return "its function call could not be read"
	case "UNEXPECTED_TOOL_CALL":
		return "it called a function that you do not have"
	case "TOO_MANY_TOOL_CALLS":
		return "it called too many functions"
	}
	return ""
}

// hint tells the model what was wrong with its calls, and which it can make.
func (t *turn) hint(s step, wrong string) string {
	if s.reason != "" && s.reason != s.finish {
		wrong += ": " + s.reason
	}
	return fmt.Sprintf("(Your last reply was not used, because %s. Answer in words, or call at most %d functions at once, "+
		"as function calls and not as text or code, with arguments that fit their schemas. Your functions are: %s.)", wrong, maxCalls, t.names())
}

// names lists the functions that the model may call.
func (e *Executor) names() string {
	return strings.Join(append([]string{askName}, slices.Sorted(maps.Keys(e.tools))...), ", ")
}

// contents is the conversation so far.
func (t *turn) contents() []model.Content {
	return joinRoles(slices.Concat(t.view.contents, t.history))
}

// prompt is the conversation that the next step sends, with the hint about the last reply
// if there is one.
func (t *turn) prompt() []model.Content {
	all := t.contents()
	if t.retry.hint == "" {
		return all
	}
	return append(all, model.Content{Role: model.RoleUser, Parts: []model.Part{{Text: t.retry.hint}}})
}

// odd is the reason of a reply that was no answer, for the client.
// https://ai.google.dev/api/generate-content#FinishReason
// https://firebase.google.com/docs/reference/kotlin/com/google/firebase/ai/type/FinishReason
func odd(s step) string {
	why := map[string]string{
		"OTHER":                     "it named no reason",
		"NO_IMAGE":                  "an image was expected, and it made none",
		"IMAGE_OTHER":               "it could not make the image",
		"MALFORMED_RESPONSE":        "its answer was malformed",
		"MISSING_THOUGHT_SIGNATURE": "it needs a thought signature that the conversation does not have",
	}[s.finish]
	if why == "" {
		return fmt.Sprintf(" (%.40q)", s.finish)
	}
	if s.reason != "" && s.reason != s.finish {
		why += ", and says: " + s.reason
	}
	return fmt.Sprintf(": %s (%s)", why, s.finish)
}

// spoken tells the calls of a conversation, and their results, in the user's words. Text
// needs no signature, and the service asks for the signatures of calls alone. called reports
// whether there was a call.
// https://ai.google.dev/gemini-api/docs/thought-signatures
func spoken(history []model.Content) (told []model.Content, called bool) {
	var calls []*model.Call
	for _, c := range history {
		out := model.Content{Role: c.Role}
		for _, p := range c.Parts {
			switch {
			case p.Call != nil:
				calls, called = append(calls, p.Call), true
			case p.Result != nil && len(calls) > 0:
				out.Parts = append(out.Parts, model.Part{Text: reasonOf(calls[0], p.Result)})
				calls = calls[1:]
			case !p.Thought && (p.Text != "" || p.Data != nil || p.URI != ""):
				p.Signature = nil
				out.Parts = append(out.Parts, p)
			}
		}

		if len(out.Parts) > 0 {
			told = append(told, out)
		}
	}
	return joinRoles(told), called
}

func reasonOf(c *model.Call, r *model.Result) string {
	return fmt.Sprintf("(You called the function %s with %s. Its result: %s)", c.Name, c.Args, r.Value)
}
