package agent

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"errand/worker/agent/stock"
	"errand/worker/run"
)

// An executor answers "How many ITEM?" itself, and leaves the rest to the one that is
// shipped.
type executor struct {
	a2asrv.AgentExecutor
	stock *stock.Stock
}

func (e executor) Execute(ctx context.Context, ec *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	item, asks := strings.CutPrefix(ec.Message.Parts[0].Text(), "How many ")
	item = strings.TrimSuffix(item, "?")
	if !asks {
		return e.AgentExecutor.Execute(ctx, ec)
	}
	return func(yield func(a2a.Event, error) bool) {
		count, err := e.stock.Count(ctx, item)
		if err != nil {
			yield(nil, err)
			return
		}
		this, _ := run.From(ctx)
		answer := fmt.Sprintf("%d %s, says the stockkeeper in turn %d to %s.", count, item, this.Turn, ec.User.Name)
		if yield(a2a.NewArtifactEvent(ec, a2a.NewTextPart(answer)), nil) {
			yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateCompleted, nil), nil)
		}
	}
}
