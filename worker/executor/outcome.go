package executor

import (
	"context"
	"errors"
	"fmt"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/model"
	"errand/worker/run"
)

// An outcome is the end of a turn.
type outcome struct {
	state a2a.TaskState
	say   string // message to the client; empty: none
}

func failed(say string) outcome { return outcome{state: a2a.TaskStateFailed, say: say} }

func (t *turn) overBudget() outcome {
	return failed(fmt.Sprintf("The work was ended: it needs more than the %d tokens that one message may cost (limits.turnTokens).", t.limits.TurnTokens))
}

// overDay returns a pause if the caller's tokens of today are used up. While their number
// cannot be read, and what is known of it is within the limit, the turn goes on.
func (t *turn) overDay(ctx context.Context) error {
	wait, err := t.usage.Wait(ctx, t.caller)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		t.log.WarnContext(ctx, "the tokens of the caller's day could not be read; the turn goes on without", "task", t.info.TaskID, "err", err)
	case wait > 0:
		return &run.Pause{
			For: wait, Err: errDay, Aside: true,
			Say: "The task is waiting: the limit tokensPerDay of this caller is used up. The task goes on tomorrow, after midnight in UTC.",
		}
	}
	return nil
}

// refused is the text for the client if the model refused to answer, and empty if it did
// not.
// https://ai.google.dev/api/generate-content#FinishReason
func refused(finish string) string {
	switch finish {
	case model.FinishBlocked:
		return "The message was refused by the model's safety rules."
	case "SAFETY", "IMAGE_SAFETY":
		return "The answer was refused by the model's safety rules."
	case "PROHIBITED_CONTENT", "IMAGE_PROHIBITED_CONTENT":
		return "The answer was refused: its content is prohibited by the model's rules."
	case "BLOCKLIST":
		return "The answer was refused: it held words that are blocked for this model."
	case "SPII":
		return "The answer was refused: it might have held sensitive personal data."
	case "RECITATION", "IMAGE_RECITATION":
		return "The answer was refused: it would have repeated a protected work too closely."
	case "LANGUAGE":
		return "The answer was refused: the model does not support this language."
	}
	return ""
}

// verdict decides how the last step ends the task. Only STOP completes it.
func (t *turn) verdict(s step) (outcome, error) {
	if why := refused(s.finish); why != "" {
		if s.finish == model.FinishBlocked && t.view.shown > 0 {
			why = "The conversation was refused by the model's safety rules."
		}
		if s.reason != "" && s.reason != s.finish {
			why += " The model says: " + s.reason
		}
		return outcome{state: a2a.TaskStateRejected, say: why + t.shared()}, nil
	}

	switch s.finish {
	case model.FinishStop:
		if t.answer.empty() {
			return outcome{}, errors.New("the model gave an empty answer")
		}
		return outcome{state: a2a.TaskStateCompleted}, nil
	case model.FinishMaxTokens:
		return failed(t.cutOff(s)), nil
	case model.FinishNone:
		return outcome{}, errors.New("the model's answer ended without a reason")
	}
	if malformed(s.finish) != "" {
		return failed(fmt.Sprintf("The work was ended: the model called its functions wrongly %d times in a row (%s).", t.retry.malformed, s.finish)), nil
	}
	return failed("The work was ended: the model gave no answer" + odd(s) + "." + t.kept()), nil
}

// shared tells the client that a refusal need not be the fault of its message.
func (t *turn) shared() string {
	if t.view.shown == 0 {
		return ""
	}
	return ` The reason may be this message or an earlier one: the model was given both. Send it in another context, or with the metadata {"conversation":"none"}, for an answer without earlier tasks.`
}

// kept tells the client of the piece of an answer that stays on a failed task.
func (t *turn) kept() string {
	if t.answer.empty() || t.answer.old {
		return ""
	}
	return " What there is of it was kept."
}

// failure decides how an error of a step ends the turn. A returned error makes the turn run
// again.
func (t *turn) failure(ctx context.Context, err error) (outcome, error) {
	e, ofModel := errors.AsType[*model.Error](err)
	_, waits := errors.AsType[*run.Pause](err)
	switch {
	case errors.Is(err, errGone), waits:
		return outcome{}, err

	case ctx.Err() != nil:
		return outcome{}, ctx.Err()

	case errors.Is(err, errTooLong):
		return failed("The answer was cut off: it is too long. What there is of it was kept."), nil

	case errors.Is(err, errCrowded):
		return failed(fmt.Sprintf("The work was ended: the model sent more than %d parts or calls at once.", maxParts)), nil

	case errors.Is(err, errBudget):
		return t.overBudget(), nil

	case !ofModel:
		return outcome{}, fmt.Errorf("asking the model: %w", err)

	case e.Kind() == model.OfMessage:
		t.log.WarnContext(ctx, "the model refused a request", "task", t.info.TaskID, "err", err)
		if t.view.shown > 0 {
			return failed("The model cannot work on this conversation: it refused the request as invalid or too large." + t.shared()), nil
		}
		return failed("The model cannot work on this message: it refused the request as invalid or too large."), nil
	}

	if this, ok := run.From(ctx); ok && this.Last {
		t.log.WarnContext(ctx, "a message makes the model fail", "task", t.info.TaskID, "attempt", this.Attempt, "err", err)
		return failed(broke(e.Why())), nil
	}
	return outcome{}, fmt.Errorf("asking the model: %w", err)
}

// broke says why a task ends whose message makes the model fail, again and again, while the
// model answers other requests.
func broke(why model.Cause) string {
	what := "failed with an internal error"
	switch why {
	case model.Cut:
		what = "broke off its answer"
	case model.Silent:
		what = "stopped answering"
	}
	return "The task was ended: the model " + what + " each time that it was given this message, while it answered others. Change the message, or send it again later."
}
