package gate

import (
	"errors"

	"errand/shared/model"
)

// Reasons of pauses that no request has had.
var (
	errClosed = errors.New("the model cannot be asked now")
	errFull   = errors.New("the model answers again, and other turns are before this one")
)

// sayFull is the status message of a turn that waits at a full gate.
const sayFull = "The task is waiting: the model is back, and other tasks are before this one."

// say is the status message of a turn that waits because of an error of the model.
func say(why model.Cause) string {
	switch {
	case why.Kind() == model.OfOperator:
		return "The task is waiting: the agent's operator must mend the access to the model."
	case why == model.DayQuota:
		return "The task is waiting: the model's quota of the day is used up."
	case why == model.Quota:
		return "The task is waiting for the model's quota."
	}
	return "The task is waiting: the model is not available."
}
