package adk

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
	adka2a "google.golang.org/adk/v2/server/adka2a/v2"
	"google.golang.org/adk/v2/session"
	"google.golang.org/adk/v2/tool/toolconfirmation"
	"google.golang.org/genai"
)

// A question is a call that waits for the client: for the confirmation of another call, or for
// its own result.
type question struct{ call *genai.FunctionCall }

// questions are those that events ask and do not answer.
func questions(events []*session.Event) (open []question) {
	for _, ev := range events {
		for _, r := range resultsIn(ev) {
			open = slices.DeleteFunc(open, func(q question) bool { return q.call.ID == r.ID })
		}
		for _, c := range callsIn(ev) {
			if slices.Contains(ev.LongRunningToolIDs, c.ID) {
				open = append(open, question{c})
			}
		}
	}
	return open
}

// openOf are the questions of a task.
func openOf(turns []past, task string) []question {
	var events []*session.Event
	for _, t := range turns {
		if t.task == task {
			events = append(events, t.events...)
		}
	}
	return questions(events)
}

// confirms reports whether the question is for the confirmation of another call, and returns
// that call and the agent's words about it.
func (q question) confirms() (call *genai.FunctionCall, hint string, ok bool) {
	if q.call.Name != toolconfirmation.FunctionCallName {
		return nil, "", false
	}
	call, err := toolconfirmation.OriginalCallFrom(q.call)
	if err != nil {
		return nil, "", false
	}
	about, _ := q.call.Args["toolConfirmation"].(map[string]any)
	hint, _ = about["hint"].(string)
	return call, hint, true
}

// ask is the end of a turn that asks its client. fault says why an answer did not count.
func ask(ec *a2asrv.ExecutorContext, open []question, fault string) *a2a.TaskStatusUpdateEvent {
	var text []string
	if fault != "" {
		text = append(text, fault)
	}
	var data []*a2a.Part
	for _, q := range open {
		text = append(text, q.words())
		if p, err := adka2a.ToA2APart(&genai.Part{FunctionCall: q.call}, []string{q.call.ID}); err == nil {
			data = append(data, p)
		}
	}
	parts := append([]*a2a.Part{a2a.NewTextPart(strings.Join(text, "\n\n"))}, data...)
	return a2a.NewStatusUpdateEvent(ec, a2a.TaskStateInputRequired, a2a.NewMessageForTask(a2a.MessageRoleAgent, ec, parts...))
}

// words is the question as a person reads it.
func (q question) words() string {
	call, hint, ok := q.confirms()
	if !ok {
		return fmt.Sprintf("%s waits for its result.", written(q.call))
	}
	return fmt.Sprintf("%s\n%s\nAnswer yes or no.", hint, written(call))
}

func written(c *genai.FunctionCall) string {
	args, err := json.Marshal(c.Args)
	if err != nil || len(c.Args) == 0 {
		return c.Name + "()"
	}
	return fmt.Sprintf("%s(%s)", c.Name, args)
}

// answer makes a message answer the open questions, and returns it, or the reason why it
// does not. Data parts in ADK's form answer them by id. Otherwise the text of the message answers all:
// with yes or no if a call is to be confirmed, and any text is the result of another call.
func answer(m *a2a.Message, open []question) (*a2a.Message, string) {
	given := map[string]bool{}
	for _, p := range m.Parts {
		id, ok := answered(p)
		if !ok {
			continue
		}
		if !slices.ContainsFunc(open, func(q question) bool { return q.call.ID == id }) {
			return nil, "The message answers a question that is not open."
		}
		given[id] = true
	}
	if len(open) == 0 || len(given) == len(open) {
		return m, ""
	}

	own := *m
	own.Parts = slices.Clone(m.Parts)
	if len(given) == 0 { // its text is the answer
		own.Parts = nil
	}

	for _, q := range open {
		if given[q.call.ID] {
			continue
		}
		response, ok := q.answeredBy(texts(m))
		if !ok {
			return nil, "The message does not answer the question."
		}
		p, err := adka2a.ToA2APart(&genai.Part{FunctionResponse: &genai.FunctionResponse{ID: q.call.ID, Name: q.call.Name, Response: response}}, nil)
		if err != nil {
			return nil, "The message does not answer the question."
		}
		own.Parts = append(own.Parts, p)
	}
	return &own, ""
}

// answered is the id of the call whose result a part is.
func answered(p *a2a.Part) (id string, ok bool) {
	if p == nil || p.Data() == nil {
		return "", false
	}
	g, err := adka2a.ToGenAIPart(p)
	if err != nil || g.FunctionResponse == nil {
		return "", false
	}
	return g.FunctionResponse.ID, true
}

func texts(m *a2a.Message) string {
	var all []string
	for _, p := range m.Parts {
		if p != nil && p.Text() != "" {
			all = append(all, p.Text())
		}
	}
	return strings.TrimSpace(strings.Join(all, "\n"))
}

// answeredBy is the result that a text gives to the question.
func (q question) answeredBy(text string) (map[string]any, bool) {
	if _, _, ok := q.confirms(); !ok {
		return map[string]any{"response": text}, text != ""
	}
	switch strings.ToLower(strings.Trim(text, " .!")) {
	case "yes", "y":
		return map[string]any{"confirmed": true}, true
	case "no", "n":
		return map[string]any{"confirmed": false}, true
	}
	return nil, false
}
