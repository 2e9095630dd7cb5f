package wire

import (
	"math"
	"slices"
	"strconv"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/go-json-experiment/json/jsontext"
)

// Limits of what a request may hold. The protocol names none but the page size
// (4.1 to 4.3 of its specification); these are far above what a client needs.
const (
	maxDepth      = 100  // containers around a value in params; jsontext would take 10,000
	maxID         = 256  // bytes of an id or tenant
	maxParts      = 100  // of one message
	maxReferences = 100  // task ids
	maxModes      = 100  // accepted output modes
	maxExtensions = 100  // URIs
	maxMetadata   = 256  // keys of one metadata object
	maxPage       = 100  // tasks or configs, 3.1.4
	maxToken      = 4096 // bytes of a page token, or of a webhook's token or credentials
	maxScheme     = 64   // bytes
	maxURL        = 2048 // bytes
	maxMediaType  = 256  // bytes
	maxFilename   = 255  // bytes, as in most file systems
	historyLimit  = math.MaxInt32
)

// decode fills a request from params, and collects what is wrong in them.
func decode[Req any](params []byte, fill func(*cursor) *Req) (*Req, error) {
	c := newCursor(params)
	req := fill(c)
	if c.err != nil {
		return nil, notJSON(c.err)
	}
	if len(c.bad) > 0 {
		return nil, invalid(c.bad)
	}
	return req, nil
}

func (c *cursor) sendMessage() *a2a.SendMessageRequest {
	req := &a2a.SendMessageRequest{}
	for name := range c.object() {
		switch name {
		case "tenant":
			req.Tenant = c.label(maxID)
		case "message":
			req.Message = c.message()
		case "configuration":
			req.Config = c.sendConfig()
		case "metadata":
			req.Metadata = c.metadata()
		}
	}
	if req.Message == nil {
		c.missing("message")
		return req
	}
	if req.Config != nil && req.Config.PushConfig != nil {
		if id := req.Config.PushConfig.TaskID; id != "" && id != req.Message.TaskID {
			c.refuseAt("configuration.taskPushNotificationConfig.taskId", "must be empty: the config is for the task of this message")
		}
	}
	return req
}

func (c *cursor) sendConfig() *a2a.SendMessageConfig {
	if c.null() {
		return nil
	}
	cfg := &a2a.SendMessageConfig{}
	for name := range c.object() {
		switch name {
		case "acceptedOutputModes":
			cfg.AcceptedOutputModes = list(c, maxModes, (*cursor).mediaType)
		case "returnImmediately":
			cfg.ReturnImmediately = c.bool()
		case "historyLength":
			cfg.HistoryLength = c.optionalInt(0, historyLimit)
		case "taskPushNotificationConfig":
			cfg.PushConfig = c.pushConfig()
		}
	}
	return cfg
}

func (c *cursor) message() *a2a.Message {
	if c.null() {
		return nil
	}
	m := &a2a.Message{}
	for name := range c.object() {
		switch name {
		case "messageId":
			m.ID = c.id()
		case "role":
			m.Role = c.role()
		case "parts":
			m.Parts = list(c, maxParts, (*cursor).part)
		case "contextId":
			m.ContextID = c.id()
		case "taskId":
			m.TaskID = c.taskID()
		case "referenceTaskIds":
			m.ReferenceTasks = list(c, maxReferences, (*cursor).taskID)
		case "extensions":
			m.Extensions = unique(list(c, maxExtensions, (*cursor).extension))
		case "metadata":
			m.Metadata = c.metadata()
		}
	}
	if m.ID == "" {
		c.missing("messageId")
	}
	if m.Role == "" {
		c.missing("role")
	}
	if len(m.Parts) == 0 {
		c.missing("parts")
	}
	return m
}

// part decodes one part. A null beside real content means absent, as some
// clients write all four; data alone may be null, which is a JSON value too.
func (c *cursor) part() *a2a.Part {
	p := &a2a.Part{}
	contents, nullData := 0, false
	for name := range c.object() {
		switch name {
		case "text":
			if !c.null() {
				s, _ := c.string()
				p.Content = a2a.Text(s)
				contents++
			}
		case "raw":
			if !c.null() {
				p.Content = a2a.Raw(c.base64())
				contents++
			}
		case "url":
			if !c.null() {
				p.Content = a2a.URL(c.url())
				contents++
			}
		case "data":
			if c.null() {
				nullData = true
			} else {
				p.Content = a2a.Data{Value: c.value()}
				contents++
			}
		case "mediaType":
			p.MediaType = c.mediaType()
		case "filename":
			p.Filename = c.filename()
		case "metadata":
			p.Metadata = c.metadata()
		}
	}
	if contents == 0 && nullData {
		p.Content = a2a.Data{}
		contents = 1
	}
	if contents != 1 {
		c.refuse("must have exactly one of text, raw, url and data")
	}
	return p
}

func (c *cursor) getTask() *a2a.GetTaskRequest {
	req := &a2a.GetTaskRequest{}
	c.oneTask(&req.Tenant, &req.ID, func(name string) {
		if name == "historyLength" {
			req.HistoryLength = c.optionalInt(0, historyLimit)
		}
	})
	return req
}

// oneTask decodes what requests about one task have in common; more decodes the
// fields beside it.
func (c *cursor) oneTask(tenant *string, id *a2a.TaskID, more func(name string)) {
	for name := range c.object() {
		switch name {
		case "tenant":
			*tenant = c.label(maxID)
		case "id":
			*id = c.taskID()
		default:
			more(name)
		}
	}
	if *id == "" {
		c.missing("id")
	}
}

func (c *cursor) listTasks() *a2a.ListTasksRequest {
	req := &a2a.ListTasksRequest{}
	for name := range c.object() {
		switch name {
		case "tenant":
			req.Tenant = c.label(maxID)
		case "contextId":
			req.ContextID = c.id()
		case "status":
			req.Status = c.state()
		case "pageSize":
			req.PageSize = c.int(1, maxPage)
		case "pageToken":
			req.PageToken = c.label(maxToken)
		case "historyLength":
			req.HistoryLength = c.optionalInt(0, historyLimit)
		case "statusTimestampAfter":
			req.StatusTimestampAfter = c.timestamp()
		case "includeArtifacts":
			req.IncludeArtifacts = c.bool()
		}
	}
	return req
}

func (c *cursor) cancelTask() *a2a.CancelTaskRequest {
	req := &a2a.CancelTaskRequest{}
	c.oneTask(&req.Tenant, &req.ID, func(name string) {
		if name == "metadata" {
			req.Metadata = c.metadata()
		}
	})
	return req
}

func (c *cursor) subscribe() *a2a.SubscribeToTaskRequest {
	req := &a2a.SubscribeToTaskRequest{}
	c.oneTask(&req.Tenant, &req.ID, func(string) {})
	return req
}

func (c *cursor) extendedCard() *a2a.GetExtendedAgentCardRequest {
	req := &a2a.GetExtendedAgentCardRequest{}
	for name := range c.object() {
		if name == "tenant" {
			req.Tenant = c.label(maxID)
		}
	}
	return req
}

// list decodes an array of at most limit elements, none of them null.
func list[T any](c *cursor, limit int, element func(*cursor) T) []T {
	if !c.is(jsontext.KindBeginArray, "must be an array") {
		return nil
	}
	var all []T
	n := 0
	for range c.items() {
		n++
		switch {
		case n > limit:
		case c.null():
			c.refuse("must not be null")
		default:
			all = append(all, element(c))
		}
	}
	if n > limit {
		c.refuse("has more than " + strconv.Itoa(limit) + " elements")
	}
	return all
}

// unique drops repeated elements and keeps the order of the rest.
func unique(all []string) []string {
	for i := 0; i < len(all); {
		if slices.Contains(all[:i], all[i]) {
			all = slices.Delete(all, i, i+1)
		} else {
			i++
		}
	}
	return all
}
