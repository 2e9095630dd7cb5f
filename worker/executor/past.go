package executor

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"errand/shared/model"
	"errand/shared/task"
	"errand/worker/run"
)

// An item is one contribution to the conversation before its conversion.
type item struct {
	role  string
	parts a2a.ContentParts
}

// A past is an earlier turn of the conversation: a message, and what came of it.
type past struct {
	number int         // of the message in its task, from 1; 0: there is no message
	asked  item        // the message
	steps  []task.Kept // oldest first
	said   []item      // artifacts and messages of the agent

	key func(step, call int) string

	done    bool // the turn has completed, or asked its client
	refused bool // the model refused it, or it ended before the model said anything
}

// items are the message and what was said, without steps.
func (p past) items() []item {
	if p.number == 0 {
		return p.said
	}
	return append([]item{p.asked}, p.said...)
}

// contents converts a turn with some of its steps, which come between the message and the
// answer. shown are the numbers of these: a step whose reply cannot be read is left out.
func (p past) contents(steps []task.Kept, objects bool) (out []model.Content, shown []int) {
	add := func(role string, parts []model.Part) {
		if len(parts) > 0 {
			out = append(out, model.Content{Role: role, Parts: parts})
		}
	}
	if p.number > 0 {
		add(p.asked.role, convert(p.asked.role, p.asked.parts, objects))
	}
	for _, k := range steps {
		parts, err := decodeReply(k.Reply, k.Calls)
		if err != nil || len(k.Calls) == 0 {
			continue
		}
		// Thoughts are for their own turn. The signatures that stand for them go on.
		add(model.RoleModel, slices.DeleteFunc(parts, func(p model.Part) bool { return p.Thought && len(p.Signature) == 0 }))
		add(model.RoleUser, results(k))
		shown = append(shown, k.Number)
	}
	for _, it := range p.said {
		add(it.role, convert(it.role, it.parts, objects))
	}
	return out, shown
}

// results are those of the calls of a step, one for each.
func results(k task.Kept) []model.Part {
	out := make([]model.Part, len(k.Calls))
	for i, c := range k.Calls {
		out[i] = model.Part{Result: &model.Result{ID: c.ID, Name: c.Name, Value: resultIn(k, i)}}
	}
	return out
}

// resultIn is the result of a call of an earlier turn. One that has stopped within a call has none.
func resultIn(k task.Kept, call int) json.RawMessage {
	if r, ok := k.Results[call]; ok {
		return r.Value
	}
	if k.Calls[call].Times > 0 {
		return json.RawMessage(`{"error":"no result is known: the call has begun, and may have happened"}`)
	}
	return json.RawMessage(`{"error":"not called"}`)
}

// fileBytes counts the bytes of the files in the turn.
func (p past) fileBytes() (n int) {
	for _, it := range p.items() {
		n += fileBytes(it.parts)
	}
	return n
}

// pasts lists the turns before the message, oldest first: those of the related tasks, and then
// those of the task itself.
func pasts(ec *a2asrv.ExecutorContext, before run.Before) []past {
	var all []past
	seen := map[a2a.TaskID]bool{ec.TaskID: true}
	for _, t := range ec.RelatedTasks {
		if t == nil || seen[t.ID] {
			continue
		}
		seen[t.ID] = true
		all = append(all, ended(t, before.Tasks[t.ID])...)
	}

	if ec.StoredTask != nil {
		own := turnsOf(ec.StoredTask, ec.Message.ID, before.Tasks[ec.TaskID])
		for i := range own {
			own[i].done = true
		}
		// The SDK's server adds a question to the history only afterwards.
		if q := ec.StoredTask.Status; task.Interrupted(q.State) && q.Message != nil {
			own = saying(own, item{model.RoleModel, q.Message.Parts})
		}
		all = append(all, own...)
	}
	return all
}

// ended lists the turns of another task, and says how they ended. A task ends with one turn, and
// messages behind that one were never answered.
func ended(t *a2a.Task, e run.Earlier) []past {
	list := turnsOf(t, "", e)
	last := e.Turn
	if n := len(list); last == 0 && n > 0 {
		last = list[n-1].number
	}
	state := t.Status.State
	good := state == a2a.TaskStateCompleted || task.Interrupted(state)

	for i := range list {
		p := &list[i]
		p.done = good || p.number < last
		if p.done || !state.Terminal() {
			continue
		}
		silent := len(p.steps) == 0 && len(p.said) == 0 && e.Unread == 0
		p.refused = state == a2a.TaskStateRejected || silent
	}

	m := t.Status.Message
	if m == nil || !good && !state.Terminal() || len(list) > 0 && list[len(list)-1].refused {
		return list
	}
	return saying(list, item{model.RoleModel, m.Parts})
}

// turnsOf lists the turns of a task. The artifacts of a turn come after the message that they
// answer, before further messages of the agent. The list ends before the message that is
// answered now, because artifacts of its turn belong to an earlier attempt.
func turnsOf(t *a2a.Task, now string, e run.Earlier) (list []past) {
	byTurn := map[int][]item{}
	var others []item
	for _, a := range t.Artifacts {
		if a == nil {
			continue
		}
		it := item{model.RoleModel, a.Parts}
		if n := turnOf(a.ID); n > 0 {
			byTurn[n] = append(byTurn[n], it)
		} else {
			others = append(others, it)
		}
	}

	n := 0
	for _, m := range t.History {
		switch {
		case m == nil:
			continue
		case m.ID == now && now != "":
			return withSteps(saying(list, others...), e)
		case m.Role == a2a.MessageRoleAgent:
			list = saying(list, item{model.RoleModel, m.Parts})
			continue
		}
		n++
		list = append(list, past{number: n, asked: item{model.RoleUser, m.Parts}, said: byTurn[n]})
	}
	return withSteps(saying(list, others...), e)
}

// saying adds to what was said in the last turn.
func saying(list []past, more ...item) []past {
	if len(more) == 0 {
		return list
	}
	if len(list) == 0 {
		list = append(list, past{})
	}
	p := &list[len(list)-1]
	p.said = append(slices.Clip(p.said), more...)
	return list
}

// withSteps gives each turn its steps.
func withSteps(list []past, e run.Earlier) []past {
	for i := range list {
		p := &list[i]
		p.key = e.Key
		for _, k := range e.Steps {
			if k.Turn == p.number || i == len(list)-1 && k.Turn > p.number {
				p.steps = append(p.steps, k)
			}
		}
	}
	return list
}

func hasEffects(k task.Kept) bool {
	return slices.ContainsFunc(k.Calls, func(c task.Call) bool { return c.Effects })
}

// turnOf finds the turn in an id made by artifactID. It returns 0 for an id from elsewhere.
func turnOf(id a2a.ArtifactID) int {
	own, _, ok := strings.Cut(string(id), "-")
	digits, t := strings.CutPrefix(own, "t")
	n, err := strconv.Atoi(digits)
	if !ok || !t || err != nil {
		return 0
	}
	return n
}
