package desk_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/adapters/local"
	"errand/shared/adapters/sqlstore"
	"errand/shared/desk"
	"errand/shared/task"
)

// A desk accepts a message, finds the task of a repeated message, and cancels the task. After
// each commit it enqueues the jobs that are new.
func Example() {
	ctx, log := context.Background(), slog.New(slog.DiscardHandler)
	folder, err := os.MkdirTemp("", "desk")
	if err != nil {
		fmt.Println(err)
		return
	}

	defer os.RemoveAll(folder)

	store, err := sqlstore.Open(ctx, filepath.Join(folder, "errand.db"), sqlstore.Options{Log: log})
	if err != nil {
		fmt.Println(err)
		return
	}

	defer store.Close()
	queue := local.NewQueue(local.QueueConfig{Handler: http.NotFoundHandler(), Log: log})
	defer queue.Close(ctx)

	d := desk.New(desk.Config{Store: store, Queue: queue, Rules: task.Defaults(), Now: time.Now, Log: log})
	message := desk.Message{Owner: "acme/ci", Message: a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart("Hello"))}
	r, err := d.Accept(ctx, message)
	fmt.Println(r.State(), err)

	again, err := d.Accept(ctx, message)
	fmt.Println(again.ID() == r.ID(), err)

	r, err = d.Change(ctx, r, func(r task.Record, now task.Moment) (task.Record, bool, error) {
		return r.Cancel(now, &a2a.Message{ID: "cancel-1"}, nil)
	})

	fmt.Println(r.State(), err)
	// Output:
	// TASK_STATE_SUBMITTED <nil>
	// true <nil>
	// TASK_STATE_CANCELED <nil>
}
