package executor

import (
	"encoding/json"
	"fmt"
	"strings"

	"errand/shared/model"
	"errand/worker/tools"
)

// The built-in tool by which the model asks the client a question.
const (
	askName        = "ask"
	askDescription = "Asks the person who sent the errand a question, when the work cannot be done without the answer. It ends your turn; the answer comes as the next message."
	askSchema      = `{"type":"object","properties":{"question":{"type":"string","description":"the question, complete in itself"}},"required":["question"],"additionalProperties":false}`
	maxQuestion    = 8 << 10 // bytes
)

// maxCalls bounds the calls of one step. The model learns which calls were not made.
const maxCalls = 16

// asked returns the questions among the calls, or "" if there are none.
func asked(calls []*model.Call) string {
	var questions []string
	for _, c := range calls {
		var args struct {
			Question string `json:"question"`
		}
		if c.Name != askName || len(c.Args) > maxQuestion || len(questions) >= maxCalls {
			continue
		}
		if err := json.Unmarshal(c.Args, &args); err != nil {
			continue
		}
		if q := strings.TrimSpace(args.Question); q != "" {
			questions = append(questions, q)
		}
	}
	return strings.Join(questions, "\n")
}

// bind makes a call ready to run. A refusal is its result instead, which the model can
// correct.
func (t *turn) bind(i int, c *model.Call) (tool tools.Tool, call tools.Call, refusal json.RawMessage) {
	if i >= maxCalls {
		return tool, nil, tools.Refusal(fmt.Sprintf("not called: at most %d calls are made at once", maxCalls))
	}
	if c.Name == askName {
		return tool, nil, tools.Refusal(fmt.Sprintf(`ask takes {"question": "..."}, not empty and at most %d bytes`, maxQuestion))
	}

	tool, ok := t.tools[c.Name]
	if !ok {
		return tool, nil, tools.Refusal("there is no such tool; there are: " + t.names())
	}
	call, err := tool.Bind(c.Args)
	if err != nil {
		return tool, nil, tools.Refusal(err.Error())
	}
	return tool, call, nil
}
