package desk

import (
	"errors"
	"net/http"

	"errand/shared/task"
)

// StatusOf is the status with which a handler of jobs answers an error, so that the queue
// delivers the job again. After 503 Cloud Tasks slows its whole queue down, because the handler is
// overloaded. So 503 is for a store that does not answer: no job could end now. All other
// errors concern one task, whose job alone backs off after 500.
// https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues.tasks#HttpRequest
func StatusOf(err error) int {
	if errors.Is(err, task.ErrAway) {
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}
