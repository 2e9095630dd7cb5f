package executor

import (
	"context"
	"errors"
	"fmt"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/model"
	"errand/worker/run"
	"errand/worker/steps"
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

// verdict decides how the last step ends the task. Only STOP completes it, and only if the step
// itself says something: what was said before calls is no answer.
func (t *turn) verdict(ctx context.Context, s step) (outcome, error) {
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
		if t.answer.blank() {
			return t.retried(ctx, errBlank, "gave no answer")
		}
		return outcome{state: a2a.TaskStateCompleted}, nil
	case model.FinishMaxTokens:
		return failed(t.cutOff(s)), nil
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
	if t.answer.blank() {
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
		return failed("The answer was cut off: it is too long." + t.kept()), nil

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

	return t.retried(ctx, fmt.Errorf("asking the model: %w", err), broke(e.Why()))
}

// retried ends a run in which the model did what, in words for the client. The turn waits and
// says so, and its last attempt fails it.
func (t *turn) retried(ctx context.Context, err error, what string) (outcome, error) {
	if this, ok := run.From(ctx); ok && this.Last {
		t.log.WarnContext(ctx, "a message makes the model fail", "task", t.info.TaskID, "attempt", this.Attempt, "err", err)
		return failed("The task was ended: the model " + what + " each time that it was given this message. Change the message, or send it again later."), nil
	}
	return outcome{}, &steps.Again{Err: err, Say: "The model " + what + ". The task is tried again."}
}

// broke says what the model did, by the cause of an error that may be the message's fault.
func broke(why model.Cause) string {
	switch why {
	case model.Cut:
		return "broke off its answer"
	case model.Silent:
		return "stopped answering"
	}
	return "failed with an internal error"
}
