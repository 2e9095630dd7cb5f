package executor

import (
	"context"
	"fmt"
	"slices"

	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"errand/shared/agent"
	"errand/shared/model"
	"errand/shared/task"
	"errand/worker/run"
)

// maxHistory bounds the bytes of earlier messages, independently of their tokens, because
// every step sends them again. The files that they named have a bound of their own, for the
// whole run (worker/turn). As text they are about a million tokens, as many as models
// read: https://ai.google.dev/gemini-api/docs/tokens
//
// With maxSaid and a message a request has about 12 MB, as base64. The Gemini API takes
// 100 MB: https://ai.google.dev/gemini-api/docs/file-input-methods
const maxHistory = 4 << 20

// tokenBytes is the number of bytes of text that a token is about worth.
// https://ai.google.dev/gemini-api/docs/tokens
const tokenBytes = 4

// converse makes the conversation: the earlier turns, and the message to answer. fault says, for
// the client, why the message cannot be answered: it has no readable part, names a file that
// cannot be read, or is alone worth more than the agent's turnTokens.
//
// From the second attempt on, turns that did not complete are left out: one of them may be what
// breaks the model, or its worker.
func (t *turn) converse(ctx context.Context, ec *a2asrv.ExecutorContext) (fault string) {
	message := model.Content{Role: model.RoleUser}
	if ec.Message != nil {
		if fault := missed(ec.Message.Parts, t.objects); fault != "" {
			return fault
		}
		message.Parts = convert(model.RoleUser, ec.Message.Parts, t.objects)
	}
	if len(message.Parts) == 0 {
		return "The message holds nothing that the agent can read."
	}

	left := tokenBytes * t.limits.TurnTokens
	for _, p := range message.Parts {
		left -= cost(p)
	}
	if left < 0 {
		return fmt.Sprintf("The message is too large: it has about %d tokens, and all work on one message may take %d (limits.turnTokens). Send less in one message.",
			t.limits.TurnTokens-left/tokenBytes, t.limits.TurnTokens)
	}

	this, _ := run.From(ctx)
	t.history = []model.Content{message}
	t.view.pasts, t.view.before = pasts(ec, this.Before), this.Before
	t.view.left = min(left, tokenBytes*t.talk.Tokens)
	t.show(this.Attempt > 1)
	return ""
}

// A view is what the model is shown of the turns before the message.
type view struct {
	pasts  []past // all of them, oldest first
	before run.Before
	left   int // bytes of text that they may be worth

	contents []model.Content // those that are shown, after a line about the others
	shown    int             // how many
	doubted  bool            // one of them did not complete
}

// show decides which earlier turns the model is shown: the newest ones that fit. With sure, those
// that did not complete are left out. The note about them goes to the trace.
//
// The line about what is left out comes first, so that the beginning of the request stays the
// same while nothing more is left out, and the service can take it from its cache. When the
// oldest turn goes, everything behind it is new to the cache anyway.
// https://ai.google.dev/gemini-api/docs/caching
func (t *turn) show(sure bool) {
	v := &t.view
	out := leftOut{tasks: v.before.Unread, crowded: v.before.Crowded}
	for _, e := range v.before.Tasks {
		out.steps += e.Unread
	}

	space := space{text: v.left, bytes: maxHistory}
	var newest []model.Content
	v.shown, v.doubted = 0, false
	full := false

	for _, p := range slices.Backward(v.pasts) {
		var contents []model.Content
		hidden, fits := p.steps, false
		switch {
		case p.refused:
			out.refused++
		case sure && !p.done:
			out.doubted++
		case !full:
			contents, hidden, fits = t.fit(p, &space)
			full = !fits
		}

		out.calls(p, hidden)
		if !fits {
			out.message(p)
			continue
		}
		if len(contents) > 0 {
			v.shown++
			v.doubted = v.doubted || !p.done
		}
		slices.Reverse(contents)
		newest = append(newest, contents...)
	}

	slices.Reverse(newest)
	v.contents = begin(newest, out.line())
	if t.leftOut != nil {
		t.leftOut(out.summary())
	}
}

// begin puts a line before contents. Without it they begin with one of the user, because the
// Gemini API requires it.
func begin(contents []model.Content, line string) []model.Content {
	if line != "" {
		return joinRoles(slices.Insert(contents, 0, model.Content{Role: model.RoleUser, Parts: []model.Part{{Text: line}}}))
	}
	for len(contents) > 0 && contents[0].Role != model.RoleUser {
		contents = contents[1:]
	}
	return joinRoles(contents)
}

// A space is what is left for earlier turns.
type space struct {
	text  int // bytes of text that they may be worth
	bytes int // bytes that they may have
}

// fit converts an earlier turn, if it fits: with its steps, with those alone that have effects,
// or without them. hidden are the steps that are not in it.
func (t *turn) fit(p past, left *space) (contents []model.Content, hidden []task.Kept, ok bool) {
	effects := slices.DeleteFunc(slices.Clone(p.steps), func(k task.Kept) bool { return !hasEffects(k) })
	choices := [][]task.Kept{p.steps, effects, nil}
	if t.talk.Tools == agent.ToolsEffects {
		choices = choices[1:]
	}

	for _, steps := range choices {
		contents, shown := p.contents(steps, t.objects)
		s := *left
		for _, c := range contents {
			for _, part := range c.Parts {
				s.text -= guess(part) + len(part.Signature)
				s.bytes -= weight(part)
			}
		}

		s.bytes += p.fileBytes()
		if s.text >= 0 && s.bytes >= 0 {
			*left = s
			return contents, without(p.steps, shown), true
		}
	}
	return nil, p.steps, false
}

// without returns the steps that are not among the shown ones.
func without(steps []task.Kept, shown []int) []task.Kept {
	return slices.DeleteFunc(slices.Clone(steps), func(k task.Kept) bool { return slices.Contains(shown, k.Number) })
}

func joinRoles(list []model.Content) []model.Content {
	var out []model.Content
	for _, c := range list {
		if n := len(out); n > 0 && out[n-1].Role == c.Role {
			out[n-1].Parts = append(slices.Clip(out[n-1].Parts), c.Parts...)
			continue
		}
		out = append(out, c)
	}
	return out
}

// cost is the number of bytes of text that a part is about worth. Gemini counts an image as
// 258 tokens, and sound and pages by their length.
// https://ai.google.dev/gemini-api/docs/tokens
func cost(p model.Part) int {
	n := 16 + len(p.Text)
	if p.Data != nil || p.URI != "" {
		n += tokenBytes*258 + len(p.Data)/16
	}
	return n
}
