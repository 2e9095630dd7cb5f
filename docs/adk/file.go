package adk

import (
	"fmt"
	"slices"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
	adka2a "google.golang.org/adk/v2/server/adka2a/v2"
	"google.golang.org/adk/v2/session"
	"google.golang.org/genai"

	"errand/worker/run"
)

// The contents of files are not in the session: they would not fit into a value of the store, and
// Errand has them already, for as long as there is a task that names them. The session has the
// places where they belong, and each turn puts them there again.

// readable is a message as ADK reads it: without empty parts, and with the reason in the place of
// a file that is not there.
func readable(m *a2a.Message) *a2a.Message {
	own := *m
	own.Parts = nil
	for _, p := range m.Parts {
		if p == nil {
			continue
		}
		if fault, ok := run.FileOf(p); ok && len(p.Raw()) == 0 {
			p = a2a.NewTextPart(fmt.Sprintf("(a file that cannot be read: %s %s)", p.Filename, fault))
		}
		if _, err := adka2a.ToGenAIPart(p); err == nil {
			own.Parts = append(own.Parts, p)
		}
	}
	return &own
}

// withoutFiles is a message of the user as it is stored.
func withoutFiles(ev *session.Event) *session.Event {
	e, content := *ev, *ev.Content
	content.Parts = slices.Clone(content.Parts)
	for i, p := range content.Parts {
		if p.InlineData != nil {
			content.Parts[i] = &genai.Part{InlineData: &genai.Blob{MIMEType: p.InlineData.MIMEType}}
		}
	}
	e.Content = &content
	return &e
}

// withFiles puts the contents of files back into a stored message. A message of which the task
// knows no more keeps a word about them.
func withFiles(ev *session.Event, m *a2a.Message) {
	var parts []*genai.Part
	if m != nil {
		parts, _ = adka2a.ToGenAIParts(readable(m).Parts)
	}
	for i, p := range ev.Content.Parts {
		if p.InlineData == nil || len(p.InlineData.Data) > 0 {
			continue
		}
		ev.Content.Parts[i] = &genai.Part{Text: "(a file that is gone)"}
		if len(parts) == len(ev.Content.Parts) {
			ev.Content.Parts[i] = parts[i]
		}
	}
}

// messagesOf are the messages of the tasks that an executor is shown, by task and id.
func messagesOf(ec *a2asrv.ExecutorContext) map[[2]string]*a2a.Message {
	all := map[[2]string]*a2a.Message{}
	for _, task := range append(slices.Clone(ec.RelatedTasks), ec.StoredTask) {
		if task == nil {
			continue
		}
		for _, m := range task.History {
			if m != nil {
				all[[2]string{string(task.ID), m.ID}] = m
			}
		}
	}
	return all
}
