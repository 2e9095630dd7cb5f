package turn

import (
	"context"
	"errors"
	"slices"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"errand/shared/task"
)

// Bounds on the tasks that an executor is shown beside its own: on their number and on
// their stored bytes, so that a conversation with large results does not fill the memory of
// every turn in it.
const (
	maxRelated      = 20
	maxRelatedBytes = 1 << 20
)

// executorContext is the information that an executor gets. Everything in it is a copy,
// because records are shared and an executor may change its arguments.
func (w *Worker) executorContext(ctx context.Context, r task.Record) (*a2asrv.ExecutorContext, error) {
	own := task.Clone(r.Task)
	related, err := w.related(ctx, r)
	if err != nil {
		return nil, err
	}
	return &a2asrv.ExecutorContext{
		Message: own.History[len(own.History)-1], TaskID: own.ID, ContextID: own.ContextID, StoredTask: own,
		RelatedTasks: related, Metadata: r.Request().Metadata,
	}, nil
}

// callContext is the SDK's call context, as the front door had it: the caller, and the
// active extensions.
func callContext(ctx context.Context, r task.Record) (context.Context, *a2asrv.CallContext) {
	asked := r.Request().Extensions
	ctx, cc := a2asrv.NewCallContext(ctx, a2asrv.NewServiceParams(map[string][]string{a2a.SvcParamExtensions: asked}))
	cc.User = a2asrv.NewAuthenticatedUser(r.Owner, nil)
	for _, uri := range asked {
		cc.Extensions().Activate(&a2a.AgentExtension{URI: uri})
	}
	return ctx, cc
}

// related returns the tasks that the message refers to and the newest tasks of its
// conversation, as far as they fit, oldest first. It returns only tasks of the same owner.
func (w *Worker) related(ctx context.Context, r task.Record) ([]*a2a.Task, error) {
	ids, err := w.relatedIDs(ctx, r)
	if err != nil {
		return nil, err
	}

	var found []task.Record
	left := maxRelatedBytes

	for _, id := range ids {
		f, err := w.cfg.Store.Load(ctx, id)
		if errors.Is(err, task.ErrNotFound) || (err == nil && !f.Visible(r.Owner)) {
			continue
		}
		if err != nil {
			return nil, err
		}

		form, err := f.Encode()
		if err != nil {
			return nil, err
		}
		if left -= form.Size(); left < 0 {
			break
		}

		found = append(found, f)
	}

	slices.SortStableFunc(found, func(a, b task.Record) int { return a.Stamp().Compare(b.Stamp()) })
	out := make([]*a2a.Task, len(found))
	for i, f := range found {
		out[i] = task.Clone(f.Task)
	}

	return out, nil
}

// relatedIDs lists the candidates, each once, the most important first.
func (w *Worker) relatedIDs(ctx context.Context, r task.Record) ([]string, error) {
	var ids []string
	add := func(id string) {
		if id != r.ID() && len(ids) < maxRelated && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	for _, id := range r.Task.History[len(r.Task.History)-1].ReferenceTasks {
		if !task.Foreign(r.Owner, string(id)) {
			add(string(id))
		}
	}
	if firstOfContext(r) {
		return ids, nil
	}
	page, err := w.cfg.Store.List(ctx, task.Query{Owner: r.Owner, Context: r.Task.ContextID, Limit: maxRelated + 1})
	if err != nil {
		return nil, err
	}
	for _, f := range page.Records {
		add(f.ID())
	}
	return ids, nil
}

// firstOfContext reports whether no task can have come before, because the context was made
// for this message.
func firstOfContext(r task.Record) bool {
	_, fresh := task.Derive(r.Owner, r.Requests[0].ID)
	return r.Turn == 1 && r.Task.ContextID == fresh
}
