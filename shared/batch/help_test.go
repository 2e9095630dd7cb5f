package batch_test

import (
	"time"

	"errand/shared/task"
)

// now is the time of tests.
var now = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

func moment() task.Moment { return task.Defaults().At(now) }

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
