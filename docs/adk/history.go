package adk

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"google.golang.org/adk/v2/model"
	"google.golang.org/adk/v2/session"
	"google.golang.org/genai"

	"errand/worker/steps"
)

// A past is a turn of a conversation as its memos tell it.
type past struct {
	task   string
	number int
	place  int64
	state  map[string]any // before it
	events []*session.Event
}

// turnsOf reads memos, and returns the turns in the order in which they began. Memos of other
// executors are passed over. Files come from the messages, which have task and id as their key.
func turnsOf(memos []steps.Memo, messages map[[2]string]*a2a.Message) ([]past, error) {
	var turns []past
	for _, m := range memos {
		if !strings.HasPrefix(m.Name, "adk.") {
			continue
		}
		var c chunk
		if err := json.Unmarshal(m.Value, &c); err != nil {
			return nil, fmt.Errorf("adk: the memo %s of turn %d of task %s holds no events: %w", m.Name, m.Turn, m.Task, err)
		}

		if c.Message != "" && len(c.Events) > 0 && c.Events[0].Content != nil {
			withFiles(c.Events[0], messages[[2]string{m.Task, c.Message}])
		}

		n := len(turns) - 1
		if n < 0 || turns[n].task != m.Task || turns[n].number != m.Turn {
			if m.Name != memo(0) { // the begin of the turn is left out, and so is the rest
				continue
			}
			turns = append(turns, past{task: m.Task, number: m.Turn, place: c.Place, state: c.State})
			n++
		}
		turns[n].events = append(turns[n].events, c.Events...)
	}

	slices.SortStableFunc(turns, func(a, b past) int {
		return cmp.Or(cmp.Compare(a.place, b.place), cmp.Compare(a.task, b.task), cmp.Compare(a.number, b.number))
	})
	return turns, nil
}

// What the model is told in the place of what there is not.
const (
	unknown = "There is no result: the task of this call was ended before, or it still runs. The call may have had its effect."
	leftOut = "[Earlier messages of this conversation are left out.]"
)

// history is the session before a turn: the events of the turns before it, and the state that
// they leave. A turn in which the agent did nothing is left out. A call without a result gets
// one that says so, unless it waits for the answer that this turn has. all says that turns has
// the beginning of the conversation.
func history(turns []past, open []question, all bool) ([]*session.Event, map[string]any) {
	state := map[string]any{}
	if len(turns) > 0 {
		maps.Copy(state, turns[0].state)
	}

	known := map[string]bool{} // calls with a result, or that wait for one
	for _, t := range turns {
		for _, ev := range t.events {
			for _, r := range resultsIn(ev) {
				known[r.ID] = true
			}
			maps.Copy(state, ev.Actions.StateDelta)
		}
	}
	for _, q := range open {
		known[q.call.ID] = true
	}

	var out []*session.Event
	if !all {
		out = append(out, beside(&session.Event{Author: "user"}, &genai.Part{Text: leftOut}))
	}

	for _, t := range turns {
		if !slices.ContainsFunc(t.events, acted) {
			continue
		}
		for _, ev := range t.events {
			ev.InvocationID = t.events[0].InvocationID
			out = append(out, ev)
			if lost := lostIn(ev, known); len(lost) > 0 {
				out = append(out, beside(ev, lost...))
			}
		}
	}
	return out, state
}

// lostIn are results for the calls of an event that are not known.
func lostIn(ev *session.Event, known map[string]bool) (parts []*genai.Part) {
	for _, c := range callsIn(ev) {
		if !known[c.ID] {
			parts = append(parts, &genai.Part{FunctionResponse: &genai.FunctionResponse{
				ID: c.ID, Name: c.Name, Response: map[string]any{"error": unknown},
			}})
		}
	}
	return parts
}

// beside is an event of ours after another one.
func beside(ev *session.Event, parts ...*genai.Part) *session.Event {
	return &session.Event{
		ID: ev.ID + "-errand", Timestamp: ev.Timestamp, InvocationID: ev.InvocationID, Branch: ev.Branch,
		IsolationScope: ev.IsolationScope, Author: ev.Author,
		LLMResponse: model.LLMResponse{Content: &genai.Content{Role: genai.RoleUser, Parts: parts}},
	}
}

// acted reports whether an event is something that the agent has said or done.
func acted(ev *session.Event) bool {
	return ev.Author != "user" && ev.Content != nil && len(ev.Content.Parts) > 0
}

func callsIn(ev *session.Event) (calls []*genai.FunctionCall) {
	if ev.Content == nil {
		return nil
	}
	for _, p := range ev.Content.Parts {
		if p != nil && p.FunctionCall != nil {
			calls = append(calls, p.FunctionCall)
		}
	}
	return calls
}

func resultsIn(ev *session.Event) (results []*genai.FunctionResponse) {
	if ev.Content == nil {
		return nil
	}
	for _, p := range ev.Content.Parts {
		if p != nil && p.FunctionResponse != nil {
			results = append(results, p.FunctionResponse)
		}
	}
	return results
}
