package wire

import (
	"strconv"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

// The results of the operations, each as the encoder writes it in every binding.

func encodeSent(e *encoder, r a2a.SendMessageResult) { e.event(r) }

func encodeTask(e *encoder, t *a2a.Task) {
	if t == nil {
		e.err = errNothing
		return
	}
	e.task(t, true)
}

// A page is a list of tasks, and whether their artifacts were asked for: when not,
// the key must not be there at all (3.1.4), whatever the handler left in the tasks.
type page struct {
	*a2a.ListTasksResponse
	artifacts bool
}

func encodePage(e *encoder, p page) {
	if p.ListTasksResponse == nil {
		e.err = errNothing
		return
	}
	e.raw(`{"tasks":[`)
	for i, t := range p.Tasks {
		if i > 0 {
			e.raw(",")
		}
		e.task(t, p.artifacts)
	}
	e.raw(`],"nextPageToken":`)
	e.string(p.NextPageToken)
	e.raw(`,"pageSize":`)
	e.b = strconv.AppendInt(e.b, int64(p.PageSize), 10)
	e.raw(`,"totalSize":`)
	e.b = strconv.AppendInt(e.b, int64(p.TotalSize), 10)
	e.raw("}")
}

func encodePushConfig(e *encoder, c *a2a.PushConfig) {
	if c == nil {
		e.err = errNothing
		return
	}
	e.any(c)
}

func encodePushConfigs(e *encoder, l *a2a.ListTaskPushConfigResponse) {
	if l == nil {
		e.err = errNothing
		return
	}
	e.raw(`{"configs":[`)
	for i, c := range l.Configs {
		if i > 0 {
			e.raw(",")
		}
		e.any(c)
	}
	e.raw(`],"nextPageToken":`)
	e.string(l.NextPageToken)
	e.raw("}")
}

func encodeCard(e *encoder, c *a2a.AgentCard) {
	if c == nil {
		e.err = errNothing
		return
	}
	e.any(c)
}
