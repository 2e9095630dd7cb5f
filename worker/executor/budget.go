package executor

import (
	"context"
	"errors"
	"time"

	"errand/shared/agent"
	"errand/shared/model"
	"errand/shared/task"
)

// This file decides, before a request is paid, whether the turn can afford it.

// countFor bounds a count of the service. A turn that gets none goes on without.
const countFor = 10 * time.Second

// A size is about how many tokens a request has.
type size struct {
	sure    int64 // counted by the service, as a part of the request before
	guessed int64 // the others, by their bytes
	blind   bool  // it has a file by reference, of any size
}

// near reports whether a request may have so many of the tokens that are left that it must be
// counted. An estimate may be half of the truth, since tokenBytes is for English text.
func (s size) near(left int64) bool { return s.blind || s.sure+s.guessed > left/2 }

// room is how many tokens a step may make that reads as many as prompt; zero if it must not
// be sent. Thoughts and answer share them, and it is never more than what the turn has left.
func room(l agent.Limits, left, prompt int64) int32 {
	return int32(max(min(int64(l.OutputTokens)+int64(l.ThoughtTokens), left-prompt), 0))
}

// A reckoning is what the last reply has told about the request after it, which repeats the
// request and the reply. Its zero value knows nothing.
type reckoning struct {
	answered int         // contents of the conversation that the reply answered
	usage    model.Usage // of the reply
}

// size is about the size of a request whose conversation goes on from the one that was
// answered. The thoughts of a reply are guessed: they go back in the form of signatures.
func (r reckoning) size(req model.Request) size {
	more := req.History
	var s size

	if known := count(r.usage.Prompt); known > 0 && r.answered <= len(more) {
		s.sure = known
		if more = more[r.answered:]; len(more) > 0 && more[0].Role == model.RoleModel {
			s.sure += count(r.usage.Output)
			s.guessed += count(r.usage.Thought)
			more = more[1:]
		}
	} else {
		s.guessed = int64(len(req.System)) / tokenBytes
		for _, t := range req.Tools {
			s.guessed += int64(len(t.Name)+len(t.Description)+len(t.Schema)) / tokenBytes
		}
	}

	for _, c := range more {
		for _, p := range c.Parts {
			s.guessed += int64(guess(p)+tokenBytes-1) / tokenBytes
			s.blind = s.blind || p.URI != ""
		}
	}
	return s
}

// guess is the number of bytes of text that a part is about worth, calls and results included.
func guess(p model.Part) int {
	n := cost(p)
	if p.Call != nil {
		n += len(p.Call.Name) + len(p.Call.Args)
	}
	if p.Result != nil {
		n += len(p.Result.Name) + len(p.Result.Value)
	}
	return n
}

// request is what the model sees in the next step.
func (t *turn) request() model.Request {
	return model.Request{System: t.system, History: t.prompt(), Tools: t.offered, MaxTokens: t.room}
}

// afford sets the room of the next step. It reports false if the step would take the turn over
// its limit: the request must not be sent. The service is asked for a count only if an
// estimate comes near the limit. If it gives none, only what is surely in the request counts,
// so that no turn fails for an estimate. The error is that of ctx.
func (t *turn) afford(ctx context.Context) (bool, error) {
	t.room = 0
	left := int64(t.limits.TurnTokens) - t.used.total()
	if left <= 0 {
		return false, nil
	}

	req := t.request()
	s := t.known.size(req)
	prompt := s.sure + s.guessed

	if s.near(left) {
		counting, cancel := context.WithTimeout(ctx, countFor)
		n, err := t.model.Count(counting, req)
		cancel()

		switch {
		case ctx.Err() != nil:
			return false, ctx.Err()
		case err != nil:
			t.log.WarnContext(ctx, "the tokens of a request could not be counted; the turn goes on without", "task", t.info.TaskID, "err", err)
			prompt = s.sure
		default:
			prompt = n
		}
	}

	t.room = room(t.limits, left, prompt)
	return t.room > 0, nil
}

// note returns the cost of a step, adds it to that of the turn, and remembers what its usage tells about the next
// request.
func (t *turn) note(s step, err error) task.Spent {
	t.known = reckoning{len(t.contents()), s.usage}
	return t.used.add(s, err)
}

// cutOff is the text for the client of an answer that reached a limit of tokens. It names the
// key of the limit.
func (t *turn) cutOff(s step) string {
	key := "limits.outputTokens"
	switch {
	case int(t.room) < t.limits.OutputTokens+t.limits.ThoughtTokens:
		key = "limits.turnTokens"
	case count(s.usage.Thought) > int64(t.limits.ThoughtTokens):
		key = "limits.thoughtTokens"
	}

	say := "The answer was cut off: it reached the limit of tokens (" + key + ")."
	return say + t.kept()
}

// A tally is the cost of a turn in this attempt.
type tally struct {
	model  string
	prices *agent.Prices
	spent  task.Spent
}

// add adds the cost of a step, and returns it. A step without usage costs nothing if the
// service answered with an error. Else its cost is unknown.
func (y *tally) add(s step, err error) (cost task.Spent) {
	e, ofModel := errors.AsType[*model.Error](err)
	switch {
	case s.usage != (model.Usage{}):
		cost = bill(y.prices, y.model, s.usage)
	case len(s.parts) > 0, err != nil && (!ofModel || e.Why() == model.Cut || e.Why() == model.Silent):
		cost.Unknown = 1
	}
	y.spent = y.spent.Add(cost)
	return cost
}

func (y *tally) total() int64 { return y.spent.Tokens() }

// metadata is the tally in the form of the task's metadata.
func (y *tally) metadata() map[string]any {
	return map[string]any{"usage": y.spent.Usage(y.model)}
}

// bill is the cost of one reply.
func bill(prices *agent.Prices, name string, u model.Usage) task.Spent {
	s := task.Spent{Prompt: count(u.Prompt), Output: count(u.Output), Thought: count(u.Thought), Cached: count(u.Cached), Replies: 1}
	if price, ok := prices.Of(name); ok {
		s.Nanos, s.Currency = price.Nanos(s.Prompt, s.Output, s.Thought, s.Cached), price.Currency
	}
	return s
}

// tokens is Usage.Total without trust in the service: its numbers can neither overflow nor
// win tokens back.
func tokens(u model.Usage) int64 { return count(u.Prompt) + count(u.Output) + count(u.Thought) }

func count(n int32) int64 { return max(int64(n), 0) }
