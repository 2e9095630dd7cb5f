package turn

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"errand/shared/memory"
	"errand/shared/task"
	"errand/worker/run"
	workersteps "errand/worker/steps"
)

// Bounds on the tasks that an executor is shown beside its own: on their number, on their
// stored bytes, and on the memory that they cost a run, so that a conversation with large or
// dense results does not fill the memory of every turn in it.
const (
	maxRelated      = 20
	maxRelatedBytes = 1 << 20
	maxRelatedCost  = 8 << 20
)

// The memory of turns. The number of turns at once bounds that of the small ones.
const (
	memoryShare = 4         // of the process, for the turns that are not small
	smallTurn   = 256 << 10 // bytes of a charge
	textCopies  = 4         // of a record's text in a run: stored, decoded, for the executor and for its model
	fileCopies  = 4         // of a file's content: as it is, and in base64 in the request as it is made and sent
)

// executorContext is the information that an executor gets. Everything in it is a copy,
// because records are shared and an executor may change its arguments. The charge takes the
// memory for it before the first value is decoded, and waits until there is enough. related are
// the records of its related tasks.
func (w *Worker) executorContext(ctx context.Context, r task.Record, charge *memory.Charge) (ec *a2asrv.ExecutorContext, related []task.Record, err error) {
	related, err = w.related(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	files, err := w.planFiles(ctx, r, related)
	if err != nil {
		return nil, nil, err
	}
	if err := w.take(ctx, charge, append(related, r), files.bytes*fileCopies); err != nil {
		return nil, nil, err
	}

	own := task.Clone(r.Task)
	ec = &a2asrv.ExecutorContext{
		Message: own.History[len(own.History)-1], TaskID: own.ID, ContextID: own.ContextID, StoredTask: own,
		RelatedTasks: make([]*a2a.Task, len(related)), Metadata: r.Request().Metadata,
	}
	for i, f := range related {
		ec.RelatedTasks[i] = task.Clone(f.Task)
	}
	return ec, related, w.fill(ctx, files, r.Owner, own, ec.RelatedTasks)
}

// earlier are the tasks of a turn's conversation, its own last: their memos are for it to read.
func earlier(r task.Record, related []task.Record) (tasks []workersteps.Earlier) {
	for _, f := range append(slices.Clone(related), r) {
		if f.Task.ContextID == r.Task.ContextID {
			tasks = append(tasks, workersteps.Earlier{Task: f.ID(), Prefix: f.MemoPrefix()})
		}
	}
	return tasks
}

// takeMemos charges the memory of the memos that a run reads: like that of the tasks that it is
// shown, and not for a few small ones. A run holds memory already, so it does not wait for more:
// it comes again.
func takeMemos(charge *memory.Charge) func(value []byte) error {
	var sum, taken int64
	return func(value []byte) error {
		sum += int64(len(value))*textCopies + int64(memory.Values(value))*memory.ValueCost
		n := min(sum, maxRelatedCost) - taken
		if sum <= smallTurn || n <= 0 {
			return nil
		}
		if charge.Take(n) != nil {
			return &run.Pause{For: noRoomFor, Err: errNoRoom}
		}
		taken += n
		return nil
	}
}

// noRoomFor is the rest of a turn whose memos have no room in the memory.
const noRoomFor = 5 * time.Second

// take charges the memory of a turn that is given the records, and n bytes more. A turn that does
// not get it within half of its time gives the job back and comes again.
func (w *Worker) take(ctx context.Context, charge *memory.Charge, records []task.Record, n int64) error {
	for _, r := range records {
		form, err := r.Encode()
		if err != nil {
			return err
		}
		n += cost(form)
	}
	if n <= smallTurn {
		return nil
	}

	ctx, cancel := context.WithTimeoutCause(ctx, w.cfg.Deadline/2, errNoRoom)
	defer cancel()
	if charge.Wait(ctx, n) != nil {
		return context.Cause(ctx)
	}
	return nil
}

// cost is the memory that a record takes in a run, in bytes.
func cost(form *task.Encoded) int64 {
	return int64(form.Size())*textCopies + int64(memory.Values(form.Head)+memory.Values(form.Body))*memory.ValueCost
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
func (w *Worker) related(ctx context.Context, r task.Record) ([]task.Record, error) {
	ids, err := w.relatedIDs(ctx, r)
	if err != nil {
		return nil, err
	}

	var found []task.Record
	left, memoryLeft := maxRelatedBytes, int64(maxRelatedCost)

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
		left -= form.Size()
		memoryLeft -= cost(form)
		if left < 0 || memoryLeft < 0 {
			break
		}

		found = append(found, f)
	}

	slices.SortStableFunc(found, func(a, b task.Record) int { return a.Stamp().Compare(b.Stamp()) })
	return found, nil
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
	if _, _, item := r.Item(); item || r.Lane == task.Batches || firstOfContext(r) { // the lines of a batch are no conversation
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
