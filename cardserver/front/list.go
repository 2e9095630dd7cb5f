package front

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/cardserver/front/wire"
	"errand/shared/task"
)

const defaultPage = 50 // G8

// ListTasks implements the operation. Tasks that change while a client pages may
// come twice or not at all; all others come exactly once (B14). Without
// historyLength no history is listed. Artifacts that nobody asked for are left to the
// transport, which writes none.
func (o *Operations) ListTasks(ctx context.Context, req *a2a.ListTasksRequest) (*a2a.ListTasksResponse, error) {
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
	if req.PageToken != "" {
		ref, err := parseToken(req.PageToken, q)
		if err != nil {
			return nil, wire.Invalid("pageToken", "is not the nextPageToken of a list with the same filters; begin again without it")
		}
		q.After = ref
	}
	page, err := o.cfg.Store.List(ctx, q)
	if err != nil {
		return nil, failure(err)
	}
	out := &a2a.ListTasksResponse{Tasks: make([]*a2a.Task, 0, len(page.Records)), PageSize: q.Limit, TotalSize: page.Total}
	history := req.HistoryLength
	if history == nil {
		history = new(int)
	}
	for _, r := range page.Records {
		out.Tasks = append(out.Tasks, recent(r.View(), history))
	}
	if n := len(page.Records); page.More && n > 0 {
		last := page.Records[n-1]
		out.NextPageToken = newToken(task.Ref{At: last.Stamp(), ID: last.ID()}, q)
	}
	return out, nil
}

// A token says where the next page begins, and of which list: a hash of owner and
// filters. It needs no key: a query never reaches beyond its owner.
type token struct {
	At   int64  `json:"a"` // Unix milliseconds
	ID   string `json:"i"`
	List string `json:"l"`
}

func newToken(ref task.Ref, q task.Query) string {
	text, err := json.Marshal(token{ref.At.UnixMilli(), ref.ID, listHash(q)})
	if err != nil { // numbers and strings always encode
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

func parseToken(s string, q task.Query) (task.Ref, error) {
	text, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return task.Ref{}, err
	}
	var t token
	if err := json.Unmarshal(text, &t); err != nil {
		return task.Ref{}, err
	}
	ref := task.Ref{At: time.UnixMilli(t.At).UTC(), ID: t.ID}
	if newToken(ref, q) != s {
		return task.Ref{}, fmt.Errorf("page token of another list")
	}
	return ref, nil
}

func listHash(q task.Query) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %d", q.Owner, q.Context, q.State, q.Since.UnixNano()))
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}
