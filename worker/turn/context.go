package turn

import (
	"context"
	"errors"
	"slices"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"errand/shared/intake"
	"errand/shared/task"
)

// maxRelated bounds the earlier tasks of a conversation that an executor is shown.
const maxRelated = 20

// executorContext is what an executor is told. Everything in it is a copy: records
// are shared, and an executor may change what it gets.
func (w *Worker) executorContext(ctx context.Context, r task.Record) (*a2asrv.ExecutorContext, error) {
	own := task.Clone(r.Task)
	related, err := w.related(ctx, r)
	if err != nil {
		return nil, err
	}
	msg := own.History[len(own.History)-1]
	return &a2asrv.ExecutorContext{
		Message: msg, TaskID: own.ID, ContextID: own.ContextID, StoredTask: own,
		RelatedTasks: related, Metadata: msg.Metadata,
	}, nil
}

// related are the tasks the message refers to and the earlier ones of its
// conversation, oldest first. Only the owner's own are seen.
func (w *Worker) related(ctx context.Context, r task.Record) ([]*a2a.Task, error) {
	var found []task.Record
	msg := r.Task.History[len(r.Task.History)-1]
	for _, id := range msg.ReferenceTasks[:min(len(msg.ReferenceTasks), maxRelated)] {
		ref, err := w.cfg.Store.Load(ctx, string(id))
		if errors.Is(err, task.ErrNotFound) || (err == nil && !ref.Visible(r.Owner)) {
			continue
		}
		if err != nil {
			return nil, err
		}
		found = append(found, ref)
	}
	if !firstOfContext(r) {
		page, err := w.cfg.Store.List(ctx, task.Query{Owner: r.Owner, Context: r.Task.ContextID, Limit: maxRelated + 1, Bodies: true})
		if err != nil {
			return nil, err
		}
		found = append(found, page.Records...)
	}
	slices.SortStableFunc(found, func(a, b task.Record) int { return a.Stamp().Compare(b.Stamp()) })
	out := make([]*a2a.Task, 0, len(found))
	for _, f := range found {
		if f.Task.ID == r.Task.ID || slices.ContainsFunc(out, func(t *a2a.Task) bool { return t.ID == f.Task.ID }) {
			continue
		}
		out = append(out, task.Clone(f.Task))
	}
	return out, nil
}

// firstOfContext says that nothing can have come before: the context was made for
// this very message.
func firstOfContext(r task.Record) bool {
	_, fresh := intake.Derive(r.Owner, r.Task.History[0].ID)
	return r.Turn == 1 && r.Task.ContextID == fresh
}
