package turn

import (
	"time"

	"errand/shared/task"
)

// AloneFor is how long the turn may run alone.
func (w *Worker) AloneFor(r task.Record, ru task.Rules) time.Duration { return w.aloneFor(r, ru) }
