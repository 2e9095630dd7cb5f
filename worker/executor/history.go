package executor

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"errand/shared/model"
	"errand/shared/task"
)

// maxHistory bounds the bytes of earlier messages, independently of their tokens, because
// every step sends them again. The files that they named have a bound of their own, for the
// whole run (worker/turn). As text they are about a million tokens, as many as models
// read: https://ai.google.dev/gemini-api/docs/tokens
//
// With maxSaid and a message a request has about 12 MB, as base64. The Gemini API takes
// 100 MB: https://ai.google.dev/gemini-api/docs/file-input-methods
const maxHistory = 4 << 20

// An item is one contribution to the conversation before its conversion.
type item struct {
	role  string
	parts a2a.ContentParts
}

// tokenBytes is the number of bytes of text that a token is about worth.
// https://ai.google.dev/gemini-api/docs/tokens
const tokenBytes = 4

// conversation is the input of the model: the earlier messages, oldest first, and then the
// message to answer. fault says, for the client, why the message cannot be answered: it has
// no readable part, names a file that cannot be read, or is alone worth more than the agent's
// turnTokens.
//
// Of the earlier messages it takes the newest: at most as many messages and artifacts as
// the agent's historyMessages, and as many bytes as its turnTokens. So reading them takes
// about a quarter of the turn's tokens, or what a large message leaves.
func (e *Executor) conversation(ec *a2asrv.ExecutorContext) (contents []model.Content, fault string) {
	message := model.Content{Role: model.RoleUser}
	if ec.Message != nil {
		if fault := missed(ec.Message.Parts); fault != "" {
			return nil, fault
		}
		message.Parts = convert(model.RoleUser, ec.Message.Parts)
	}
	if len(message.Parts) == 0 {
		return nil, "The message holds nothing that the agent can read."
	}

	left := tokenBytes * e.limits.TurnTokens
	for _, p := range message.Parts {
		left -= cost(p)
	}
	if left < 0 {
		return nil, fmt.Sprintf("The message is too large: it has about %d tokens, and all work on one message may take %d (limits.turnTokens). Send less in one message.",
			e.limits.TurnTokens-left/tokenBytes, e.limits.TurnTokens)
	}
	return append(e.recent(earlier(ec), min(left, e.limits.TurnTokens)), message), ""
}

// recent converts the newest items that fit into left bytes of text, and joins neighbours
// with the same role. The first one has the role of the user, because the Gemini API requires
// it.
func (e *Executor) recent(items []item, left int) []model.Content {
	bytes := maxHistory
	var newest []model.Content

	for _, it := range slices.Backward(items) {
		if len(newest) >= e.limits.HistoryMessages {
			break
		}

		parts := convert(it.role, it.parts)
		if len(parts) == 0 {
			continue
		}

		for _, p := range parts {
			left -= cost(p)
			bytes -= len(p.Text) + len(p.Data)
		}
		bytes += fileBytes(it.parts)

		if left < 0 || bytes < 0 {
			break
		}

		newest = append(newest, model.Content{Role: it.role, Parts: parts})
	}

	slices.Reverse(newest)
	for len(newest) > 0 && newest[0].Role != model.RoleUser {
		newest = newest[1:]
	}

	return joinRoles(newest)
}

func joinRoles(list []model.Content) []model.Content {
	var out []model.Content
	for _, c := range list {
		if n := len(out); n > 0 && out[n-1].Role == c.Role {
			out[n-1].Parts = append(out[n-1].Parts, c.Parts...)
			continue
		}
		out = append(out, c)
	}
	return out
}

// cost is the number of bytes of text that a part is about worth. Gemini counts an image as
// 258 tokens, and sound and pages by their length.
// https://ai.google.dev/gemini-api/docs/tokens
func cost(p model.Part) int {
	n := 16 + len(p.Text)
	if p.Data != nil || p.URI != "" {
		n += tokenBytes*258 + len(p.Data)/16
	}
	return n
}

// earlier lists the conversation before the message, oldest first: the related tasks, and
// then the task itself.
func earlier(ec *a2asrv.ExecutorContext) []item {
	var items []item
	seen := map[a2a.TaskID]bool{ec.TaskID: true}
	for _, t := range ec.RelatedTasks {
		if t == nil || seen[t.ID] {
			continue
		}
		seen[t.ID] = true
		items = append(items, said(t, "")...)
		if m := t.Status.Message; m != nil && (t.Status.State.Terminal() || task.Interrupted(t.Status.State)) {
			items = append(items, item{model.RoleModel, m.Parts})
		}
	}
	if ec.StoredTask != nil {
		items = append(items, said(ec.StoredTask, ec.Message.ID)...)
		// The SDK's server adds a question to the history only afterwards.
		if q := ec.StoredTask.Status; task.Interrupted(q.State) && q.Message != nil {
			items = append(items, item{model.RoleModel, q.Message.Parts})
		}
	}
	return items
}

// said merges the artifacts of a task into its messages: the artifacts of a turn come after
// the message that they answer, before further messages of the agent. It ends before the
// message that is answered now, because artifacts of its turn belong to an earlier attempt.
func said(t *a2a.Task, now string) []item {
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

	var items []item
	turn := 0

	for _, m := range t.History {
		if m == nil {
			continue
		}
		if m.ID == now && now != "" {
			break
		}

		if m.Role == a2a.MessageRoleAgent {
			items = append(items, item{model.RoleModel, m.Parts})
			continue
		}

		turn++
		items = append(items, item{model.RoleUser, m.Parts})
		items = append(items, byTurn[turn]...)
	}

	return append(items, others...)
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
