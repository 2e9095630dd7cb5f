package wire

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/go-json-experiment/json/jsontext"

	"errand/shared/dialect"
)

// Limits of the fields of a request. The protocol names only the page size (4.1 to 4.3 of
// its specification). The others are far above the needs of a client.
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
	maxPathname   = 4096 // bytes of a path before its last name
	historyLimit  = math.MaxInt32
)

// decode makes the request that params describe, and collects all faults. names are the fields
// that the client calls otherwise than 1.0 does.
func decode[Req any](p params, d dialect.Dialect, read func(*cursor, *Req)) (req *Req, names map[string]string, err error) {
	c := newCursor(p.text)
	c.name, c.untyped, c.said, c.dialect = p.name, p.untyped, p.path, d
	req = new(Req)
	read(c, req)
	c.end()
	if c.err != nil {
		return nil, nil, notJSON(c.err)
	}
	if len(c.bad) > 0 {
		return nil, nil, invalid(c.bad)
	}
	return req, c.names, nil
}

// named sets a field that the path may have set. The body may repeat the value of the path,
// as the SDKs do, and have no other.
func named[T ~string](c *cursor, field *T, said T) {
	switch {
	case *field == "":
		*field = said
	case said != "" && said != *field:
		c.refuse("contradicts what the path says")
	}
}

func (c *cursor) sendMessage(req *a2a.SendMessageRequest) {
	req.Tenant = c.said.tenant
	for name := range c.object() {
		switch name {
		case "tenant":
			named(c, &req.Tenant, c.label(maxID))
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
		return
	}
	if req.Config != nil && req.Config.PushConfig != nil {
		if id := req.Config.PushConfig.TaskID; id != "" && id != req.Message.TaskID {
			c.refuseAt(rename(c.names, "configuration.taskPushNotificationConfig.taskId"), "must be empty: the config is for the task of this message")
		}
	}
}

func (c *cursor) sendConfig() *a2a.SendMessageConfig {
	if c.null() {
		return nil
	}
	const hook = "taskPushNotificationConfig"
	cfg := &a2a.SendMessageConfig{}

	for name := range c.object() {
		switch name {
		case "acceptedOutputModes":
			cfg.AcceptedOutputModes = list(c, maxModes, (*cursor).mode)
		case "returnImmediately":
			cfg.ReturnImmediately = c.bool()
		case "historyLength":
			cfg.HistoryLength = c.history()
		case hook, "pushNotificationConfig": // the older name counts if it is alone
			if c.null() || name != hook && cfg.PushConfig != nil {
				continue
			}
			c.wrote("configuration." + hook)
			c.called(hook, name)
			cfg.PushConfig = &a2a.PushConfig{}
			c.pushConfig(cfg.PushConfig)
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
		default:
			c.messageField(m, name)
		}
	}
	c.complete(m)
	return m
}

// messageField decodes a field of a message that all versions spell alike.
func (c *cursor) messageField(m *a2a.Message, name string) {
	switch name {
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

// complete checks that a message has its required fields.
func (c *cursor) complete(m *a2a.Message) {
	if m.ID == "" {
		c.missing("messageId")
	}
	if m.Role == "" {
		c.missing("role")
	}
	if len(m.Parts) == 0 {
		c.missing("parts")
	}
}

// part decodes one part. A null beside real content means absent, because some clients
// write all four fields. Data alone may be null, which is a JSON value too.
func (c *cursor) part() *a2a.Part {
	p := &a2a.Part{}
	contents, nullData, kind := 0, false, ""

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
				p.Content, kind = c.link()
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

	p.MediaType = cmp.Or(p.MediaType, kind)
	return p
}

func (c *cursor) getTask(req *a2a.GetTaskRequest) {
	c.oneTask(&req.Tenant, &req.ID, func(name string) {
		if name == "historyLength" {
			req.HistoryLength = c.history()
		}
	})
}

// oneTask decodes the fields that all requests about one task have; more decodes the
// others. The proto of 0.3 has a name in the place of the id.
func (c *cursor) oneTask(tenant *string, id *a2a.TaskID, more func(name string)) {
	*tenant, *id = c.said.tenant, a2a.TaskID(c.said.task)
	for name := range c.object() {
		switch name {
		case "tenant":
			named(c, tenant, c.label(maxID))
		case "id":
			named(c, id, c.taskID())
		case "name":
			of, _ := c.resource()
			named(c, id, of)
		default:
			more(name)
		}
	}
	c.need("id", string(*id))
}

// need records that the object read last lacks a field, or that the field is blank.
func (c *cursor) need(name, value string) {
	switch {
	case value == "":
		c.missing(name)
	case strings.TrimSpace(value) == "":
		c.refuseAt(c.path(name), "must not be blank")
	}
}

func (c *cursor) listTasks(req *a2a.ListTasksRequest) { c.query(req, (*cursor).state) }

func (c *cursor) query(req *a2a.ListTasksRequest, state func(*cursor) a2a.TaskState) {
	req.Tenant = c.said.tenant
	for name := range c.object() {
		switch name {
		case "tenant":
			named(c, &req.Tenant, c.label(maxID))
		case "contextId":
			req.ContextID = c.id()
		case "status":
			req.Status = state(c)
		case "pageSize":
			req.PageSize = c.int(c.least(), maxPage)
		case "pageToken":
			req.PageToken = c.label(maxToken)
		case "historyLength":
			req.HistoryLength = c.history()
		case "statusTimestampAfter", "lastUpdatedAfter", "lastUpdatedTime": // the names in 0.3: the Go SDK's client still sends the first in queries, the second is the proto's
			c.wrote("statusTimestampAfter")
			req.StatusTimestampAfter = c.timestamp()
		case "includeArtifacts":
			req.IncludeArtifacts = c.bool()
		}
	}
}

// least is the smallest size of a page. Where the proto cannot tell zero from absent, zero is
// absent.
func (c *cursor) least() int {
	if c.dialect == dialect.V1 {
		return 1
	}
	return 0
}

func (c *cursor) cancelTask(req *a2a.CancelTaskRequest) {
	c.oneTask(&req.Tenant, &req.ID, func(name string) {
		if name == "metadata" {
			req.Metadata = c.metadata()
		}
	})
}

func (c *cursor) subscribe(req *a2a.SubscribeToTaskRequest) {
	c.oneTask(&req.Tenant, &req.ID, func(string) {})
}

func (c *cursor) extendedCard(req *a2a.GetExtendedAgentCardRequest) {
	req.Tenant = c.said.tenant
	for name := range c.object() {
		if name == "tenant" {
			named(c, &req.Tenant, c.label(maxID))
		}
	}
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
