package run

import (
	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/task"
)

// Before is what a worker knows of the conversation before a message, beyond what A2A tells.
type Before struct {
	Tasks   map[a2a.TaskID]Earlier // of the turn's own task, and of the related ones
	Unread  int                    // earlier tasks of the conversation that were not read
	Crowded bool                   // they would have been, if there were more memory
}

// An Earlier is what is known of the earlier turns of a task.
type Earlier struct {
	Turn   int         // the newest turn that has begun
	Steps  []task.Kept // the newest steps of these turns, oldest first; the last one may have no results
	Unread int         // steps before these, which were not read

	Key func(step, call int) string // the key of a call
}
