package queue_test

import (
	"context"
	"fmt"
	"net/http"

	"errand/shared/adapters/local"
	"errand/shared/queue"
)

// A queue delivers a job as an HTTP request. Its handler reads the job, and the record of the
// task decides whether there is work.
func Example() {
	done := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+queue.PathTurn, func(w http.ResponseWriter, r *http.Request) {
		defer close(done)
		job, err := queue.Read(w, r)
		if err != nil {
			w.WriteHeader(http.StatusNoContent) // acknowledge: the body will never be a job
			return
		}
		fmt.Println("look at task", job.Task)
	})

	q := local.NewQueue(local.QueueConfig{Handler: mux})
	lane, _ := queue.LaneOf(queue.Turns)
	if err := q.Add(context.Background(), queue.Job{Queue: lane.Name, Path: lane.Path, Task: "t1"}); err != nil {
		fmt.Println(err)
		return
	}
	<-done
	fmt.Println(q.Close(context.Background()))
	// Output:
	// look at task t1
	// <nil>
}
