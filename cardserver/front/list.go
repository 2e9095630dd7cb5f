package front

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/cardserver/front/wire"
	"errand/cardserver/page"
	"errand/shared/task"
)

const defaultPage = 50 // G8

// ListTasks implements the operation. Tasks that change while a client pages may come twice
// or not at all; all others come exactly once (decision 14). Without historyLength no
// history is listed. Artifacts that were not asked for are left to the transport, which
// does not write them.
func (o *operations) ListTasks(ctx context.Context, req *a2a.ListTasksRequest) (*a2a.ListTasksResponse, error) {
	owner, err := caller(ctx, req.Tenant)
	if err != nil {
		return nil, err
	}

	q := task.Query{
		Owner: owner, Context: req.ContextID, State: req.Status, Limit: req.PageSize, Count: true,
		Bodies: req.IncludeArtifacts || (req.HistoryLength != nil && *req.HistoryLength > 0),
	}
	if q.Limit == 0 {
		q.Limit = defaultPage
	}
	if req.StatusTimestampAfter != nil {
		q.Since = *req.StatusTimestampAfter
	}

	total := 0
	if req.PageToken != "" {
		from, err := page.Parse(req.PageToken, listHash(q))
		if err != nil {
			return nil, wire.Invalid("pageToken", "is not the nextPageToken of a list with the same filters; begin again without it")
		}

		q.After, q.Count = from.Ref(), from.Total == nil
		if from.Total != nil {
			total = *from.Total
		}
	}

	found, err := o.cfg.Store.List(ctx, q)
	if err != nil {
		return nil, failure(err)
	}
	if q.Count {
		total = found.Total
	}

	out := &a2a.ListTasksResponse{Tasks: make([]*a2a.Task, 0, len(found.Records)), PageSize: q.Limit, TotalSize: total}
	history := req.HistoryLength
	if history == nil {
		history = new(int)
	}

	for _, r := range found.Records {
		out.Tasks = append(out.Tasks, recent(r.View(), history))
	}

	if n := len(found.Records); found.More && n > 0 {
		next := page.After(found.Records[n-1])
		next.Total, next.List = &total, listHash(q)
		out.NextPageToken = next.String()
	}

	return out, nil
}

// listHash tells the lists of different owners and filters apart.
func listHash(q task.Query) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %d", q.Owner, q.Context, q.State, q.Since.UnixNano()))
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}
