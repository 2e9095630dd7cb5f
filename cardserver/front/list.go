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
// come twice or not at all; all others come exactly once (decision 14). Without
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

	total := 0
	if req.PageToken != "" {
		from, err := parseToken(req.PageToken, q)
		if err != nil {
			return nil, wire.Invalid("pageToken", "is not the nextPageToken of a list with the same filters; begin again without it")
		}

		q.After, q.Count = from.ref(), from.Total == nil
		if from.Total != nil {
			total = *from.Total
		}
	}

	page, err := o.cfg.Store.List(ctx, q)
	if err != nil {
		return nil, failure(err)
	}
	if q.Count {
		total = page.Total
	}

	out := &a2a.ListTasksResponse{Tasks: make([]*a2a.Task, 0, len(page.Records)), PageSize: q.Limit, TotalSize: total}
	history := req.HistoryLength
	if history == nil {
		history = new(int)
	}

	for _, r := range page.Records {
		out.Tasks = append(out.Tasks, recent(r.View(), history))
	}

	if n := len(page.Records); page.More && n > 0 {
		last := page.Records[n-1]
		out.NextPageToken = token{At: last.Stamp().UnixMilli(), ID: last.ID(), Total: &total, List: listHash(q)}.encode()
	}

	return out, nil
}

// A token says where the next page begins, of which list (a hash of owner and filters),
// and how many tasks the list had at its first page: they are counted once. It needs no
// key: a query never reaches beyond its owner, who alone is told the total.
type token struct {
	At    int64  `json:"a"` // Unix milliseconds
	ID    string `json:"i"`
	Total *int   `json:"n,omitempty"` // nil in tokens of before there was a total: count
	List  string `json:"l"`
}

func (t token) ref() task.Ref { return task.Ref{At: time.UnixMilli(t.At).UTC(), ID: t.ID} }

func (t token) encode() string {
	text, err := json.Marshal(t)
	if err != nil { // numbers and strings always encode
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

func parseToken(s string, q task.Query) (token, error) {
	text, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return token{}, err
	}
	var t token
	if err := json.Unmarshal(text, &t); err != nil {
		return token{}, err
	}
	if t.List != listHash(q) || t.Total != nil && *t.Total < 0 || t.encode() != s {
		return token{}, fmt.Errorf("page token of another list")
	}
	return t, nil
}

func listHash(q task.Query) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %d", q.Owner, q.Context, q.State, q.Since.UnixNano()))
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}
