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

// A Conversation bounds what a run reads of the conversation before its message.
type Conversation struct {
	Tokens int // that the executor's model is shown at most
	Tasks  int // beside the turn's own, at most 99: a list has 100
}

// Memory that the earlier tasks may cost a run, in bytes: for the text that the tokens are worth,
// for the form of each task, and for their data and files. So a conversation with large or
// dense results does not fill the memory of every turn in it.
const (
	tokenBytes = 4 // of text: https://ai.google.dev/gemini-api/docs/tokens
	taskCost   = 64 << 10
	dataCost   = 4 << 20
)

// What a run reads without a Conversation, as the defaults of a definition are.
const (
	usualTokens = 250_000
	usualTasks  = 20
)

// memory is what the tasks of the conversation may cost.
func (c Conversation) memory() int64 {
	return int64(c.Tokens)*tokenBytes*textCopies + int64(c.Tasks)*taskCost + dataCost
}

// The memory of turns. The number of turns at once bounds that of the small ones.
const (
	memoryShare = 4         // of the process, for the turns that are not small
	smallTurn   = 256 << 10 // bytes of a charge
	textCopies  = 4         // of a record's text in a run: stored, decoded, for the executor and for its model
	fileCopies  = 4         // of a file's content: as it is, and in base64 in the request as it is made and sent
)

// seen is what a run sees of its conversation, beside its own task.
type seen struct {
	related []task.Record // oldest first
	before  run.Before
}

// executorContext is the information that an executor gets. Everything in it is a copy,
// because records are shared and an executor may change its arguments. The charge takes the
// memory for it before the first value is decoded, and waits until there is enough.
func (w *Worker) executorContext(ctx context.Context, r task.Record, charge *memory.Charge) (*a2asrv.ExecutorContext, seen, error) {
	sees, err := w.related(ctx, r)
	if err != nil {
		return nil, sees, err
	}
	files, err := w.planFiles(ctx, r, sees.related)
	if err != nil {
		return nil, sees, err
	}
	steps, err := w.earlierSteps(ctx, r, sees.related)
	if err != nil {
		return nil, sees, err
	}
	all := append(slices.Clone(sees.related), r)
	if err := w.take(ctx, charge, all, files.bytes*fileCopies+steps.cost()); err != nil {
		return nil, sees, err
	}
	sees.before.Tasks = steps.decode(all)

	own := task.Clone(r.Task)
	ec := &a2asrv.ExecutorContext{
		Message: own.History[len(own.History)-1], TaskID: own.ID, ContextID: own.ContextID, StoredTask: own,
		RelatedTasks: make([]*a2a.Task, len(sees.related)), Metadata: r.Request().Metadata,
	}
	for i, f := range sees.related {
		ec.RelatedTasks[i] = task.Clone(f.Task)
	}
	w.missURLs(r.Owner, append(ec.RelatedTasks, own))
	return ec, sees, w.fill(ctx, files, r.Owner, own, ec.RelatedTasks)
}

// withMemos are the tasks of a turn's conversation, its own last: their memos are for it to read.
func withMemos(r task.Record, related []task.Record) (tasks []workersteps.Earlier) {
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
		n := min(sum, memoCost) - taken
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

const (
	noRoomFor = 5 * time.Second // rest of a turn whose memos have no room in the memory
	memoCost  = 8 << 20         // bytes that the memos of a run may cost
)

// take charges the memory of a turn that is given the records, and n bytes more. A turn that does
// not get it within half of its time gives the job back and comes again.
func (w *Worker) take(ctx context.Context, charge *memory.Charge, records []task.Record, n int64) error {
	for _, r := range records {
		form, err := r.Encode()
		if err != nil {
			return err
		}
		n += cost(form.Head, form.Body)
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

// cost is the memory that JSON texts take in a run, in bytes.
func cost(texts ...[]byte) (n int64) {
	for _, t := range texts {
		n += int64(len(t))*textCopies + int64(memory.Values(t))*memory.ValueCost
	}
	return n
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
// conversation, as far as they fit, oldest first. It returns only tasks of the same owner, and
// none that the task or another one runs again.
func (w *Worker) related(ctx context.Context, r task.Record) (sees seen, err error) {
	ids, unread, err := w.relatedIDs(ctx, r)
	if err != nil {
		return sees, err
	}

	sees.before.Unread = unread
	left := w.cfg.Conversation.memory()
	for i, id := range ids {
		f, err := w.cfg.Store.Load(ctx, id)
		if errors.Is(err, task.ErrNotFound) || (err == nil && !f.Visible(r.Owner)) {
			continue
		}
		if err != nil {
			return sees, err
		}

		form, err := f.Encode()
		if err != nil {
			return sees, err
		}
		if left -= cost(form.Head, form.Body); left < 0 {
			sees.before.Crowded, sees.before.Unread = true, unread+len(ids)-i
			break
		}

		sees.related = append(sees.related, f)
	}

	// Of a task that was run again the later run says all.
	all := slices.Clone(sees.related)
	sees.related = slices.DeleteFunc(sees.related, func(f task.Record) bool {
		return slices.ContainsFunc(all, func(o task.Record) bool { return o.Reruns(f.ID()) })
	})

	slices.SortStableFunc(sees.related, func(a, b task.Record) int { return a.Stamp().Compare(b.Stamp()) })
	return sees, nil
}

// relatedIDs lists the candidates, each once, the most important first, and counts the tasks of
// the conversation that are none; one that the message names may count twice.
func (w *Worker) relatedIDs(ctx context.Context, r task.Record) (ids []string, others int, err error) {
	var rest []string
	add := func(id string) {
		switch {
		case id == r.ID() || r.Reruns(id) || slices.Contains(ids, id) || slices.Contains(rest, id):
		case len(ids) < w.cfg.Conversation.Tasks:
			ids = append(ids, id)
		default:
			rest = append(rest, id)
		}
	}

	asked := r.Task.History[len(r.Task.History)-1]
	for _, id := range asked.ReferenceTasks {
		if !task.Foreign(r.Owner, string(id)) {
			add(string(id))
		}
	}

	// The lines of a batch are no conversation.
	alone, _ := task.Alone(asked)
	if _, _, item := r.Item(); item || r.Lane == task.Batches || alone || firstOfContext(r) {
		return ids, len(rest), nil
	}

	q := task.Query{Owner: r.Owner, Context: r.Task.ContextID, Limit: w.cfg.Conversation.Tasks + 1}
	page, err := w.cfg.Store.List(ctx, q)
	if err != nil {
		return nil, 0, err
	}
	for _, f := range page.Records {
		add(f.ID())
	}
	if !page.More {
		return ids, len(rest), nil
	}

	// A count costs another query, so it is asked for where there are more.
	q.Limit, q.Count = 1, true
	all, err := w.cfg.Store.List(ctx, q)
	if err != nil {
		return nil, 0, err
	}
	return ids, len(rest) + max(all.Total-len(page.Records), 0), nil
}

// firstOfContext reports whether no task can have come before, because the context was made
// for this message.
func firstOfContext(r task.Record) bool {
	_, fresh := task.Derive(r.Owner, r.Requests[0].ID)
	return r.Turn == 1 && len(r.Origins) == 0 && r.Task.ContextID == fresh
}
