package run

import (
	"context"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/task"
)

// Steps makes the steps of a turn durable (R16): the replies of a model that ask for calls,
// and the results of these calls. An executor that makes calls by other means uses
// errand/worker/steps.
//
// Open and Begin commit the record under the epoch of the run, together with everything that
// was yielded so far: an error means that no call may begin. They repeat a commit that the
// store does not answer until the lease ends. A Steps is safe for concurrent use.
type Steps interface {
	// Past returns the steps of the work that the turn goes on with, oldest first. The last
	// one is open if a call of it has no result.
	Past(ctx context.Context) ([]task.Kept, error)

	// Open stores a reply. The calls in begins begin with it. s needs Model, Spent, Reply and
	// Calls; it comes back with the rest. task.ErrTooLarge: the reply is too large for a
	// step, or the record has no room.
	Open(ctx context.Context, s task.Step, begins []int) (task.Step, error)

	// Begin stores that calls of the open step begin, or begin again.
	Begin(ctx context.Context, s task.Step, calls []int) (task.Step, error)

	// Keep stores results of a step, by the index of their calls, and returns all results
	// as they are stored: of a call that has a result already, that one stays. Without
	// results it only reads. It needs no lease, and may be called when the run is over.
	Keep(ctx context.Context, s task.Step, results map[int]task.Result) (map[int]task.Result, error)

	// Key is the key of a call, and URL the address by which it is woken; empty: none.
	Key(step, call int) string
	URL(ctx context.Context, step, call int) string
}

// Ask is the error with which an executor asks a person about a call (R16e). The turn ends,
// the step stays open, and the message that answers continues it.
type Ask struct {
	Question task.Question
	Message  *a2a.Message
}

// Error implements error.
func (*Ask) Error() string { return "asking a person about a call" }
