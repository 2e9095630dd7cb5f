package wire

import (
	"cmp"
	"slices"
	"strings"
	"unicode"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/dialect"
)

// This file reads requests of 0.3. Its JSON-RPC has the spelling of the specification's
// types ("kind", "parts", "user"), its HTTP+JSON that of the proto ("content",
// "ROLE_USER"). Both bindings read both spellings.

func (c *cursor) sendMessage03(req *a2a.SendMessageRequest) {
	named := false
	for name := range c.object() {
		switch name {
		case "message":
			if m := c.message03(); m != nil {
				req.Message, named = m, true
				c.called("message", "message")
			}
		case "request": // the proto's field, whose JSON name is message
			at := c.path("")
			if m := c.message03(); m != nil && !named {
				req.Message = m
				c.called("message", at)
			}
		case "configuration":
			req.Config = c.sendConfig03()
		case "metadata":
			req.Metadata = c.metadata()
		}
	}
	if req.Message == nil {
		c.missing("message")
	}
}

// sendConfig03 reads a configuration. In JSON-RPC blocking is the default. In the proto the
// field is a plain bool, so a client that says false sends nothing.
func (c *cursor) sendConfig03() *a2a.SendMessageConfig {
	if c.null() {
		return nil
	}
	cfg := &a2a.SendMessageConfig{ReturnImmediately: c.dialect == dialect.V03REST}
	for name := range c.object() {
		switch name {
		case "acceptedOutputModes":
			cfg.AcceptedOutputModes = list(c, maxModes, (*cursor).mode)
		case "blocking":
			if !c.null() {
				cfg.ReturnImmediately = !c.bool()
			}
		case "historyLength":
			cfg.HistoryLength = c.history()
		case "pushNotificationConfig", "pushNotification":
			if !c.null() {
				cfg.PushConfig = &a2a.PushConfig{}
				c.hook03(cfg.PushConfig, "configuration.taskPushNotificationConfig.")
			}
		}
	}
	return cfg
}

// resource decodes the name that the proto gives to a task or to a config of it: tasks/ID, or
// tasks/ID/pushNotificationConfigs/ID. JSON-RPC has no such field, nor has 1.0.
func (c *cursor) resource() (id a2a.TaskID, config string) {
	if c.dialect != dialect.V03REST {
		return "", ""
	}
	s, _ := c.string()
	at := strings.Split(s, "/")
	switch {
	case s == "":
	case len(at) == 2 && at[0] == "tasks":
		return a2a.TaskID(at[1]), ""
	case len(at) == 4 && at[0] == "tasks" && at[2] == "pushNotificationConfigs":
		return a2a.TaskID(at[1]), at[3]
	default:
		c.refuse("must be tasks/ID or tasks/ID/pushNotificationConfigs/ID")
	}
	return "", ""
}

func (c *cursor) message03() *a2a.Message {
	if c.null() {
		return nil
	}
	m := &a2a.Message{}
	for name := range c.object() {
		switch name {
		case "kind":
			if s, ok := c.string(); ok && s != "message" {
				c.refuse("must be message")
			}
		case "messageId":
			m.ID = c.id()
		case "role":
			m.Role = c.role03()
		case "parts", "content":
			c.wrote("message.parts")
			m.Parts = list(c, maxParts, (*cursor).part03)
		default:
			c.messageField(m, name)
		}
	}
	c.complete(m)
	return m
}

func (c *cursor) listTasks03(req *a2a.ListTasksRequest) { c.query(req, (*cursor).state03) }

// state03 decodes a state to filter by, which only the form of the proto has.
func (c *cursor) state03() a2a.TaskState { return c.stateNamed(dialect.Canceled03REST) }

func (c *cursor) role03() a2a.MessageRole {
	s, ok := c.enum(roleNames[:])
	if !ok || s == "" {
		return ""
	}
	if s != "user" && s != string(a2a.MessageRoleUser) {
		c.refuse("must be user")
	}
	return a2a.MessageRoleUser
}

func (c *cursor) part03() *a2a.Part {
	p := &a2a.Part{}
	kind, contents := "", []string(nil)

	for name := range c.object() {
		switch name {
		case "kind":
			kind, _ = c.string()

		case "text":
			if !c.null() {
				s, _ := c.string()
				p.Content = a2a.Text(s)
				contents = append(contents, name)
			}

		case "file":
			if !c.null() {
				c.file03(p)
				contents = append(contents, name)
			}

		case "data":
			if !c.null() {
				p.Content = a2a.Data{Value: c.metadata()}
				contents = append(contents, name)
			}

		case "metadata":
			p.Metadata = c.metadata()
		}
	}

	if len(contents) != 1 || kind != "" && kind != contents[0] {
		c.refuse("must have exactly one of text, file and data, and its name as kind")
	}
	if d, ok := p.Content.(a2a.Data); ok {
		p.Content = a2a.Data{Value: unwrap03(p, d.Value, kind == "")}
	}

	return p
}

// unwrap03 returns the value that a data part was made of. In the proto it lies in an
// object of its own. A value that is not an object was wrapped in one.
func unwrap03(p *a2a.Part, data any, proto bool) any {
	object, _ := data.(map[string]any)
	if inner, ok := object["data"]; ok && proto {
		data = inner
		object, _ = inner.(map[string]any)
	}
	if wrapped, _ := p.Metadata[dialect.WrappedData].(bool); wrapped {
		delete(p.Metadata, dialect.WrappedData)
		data = object["value"]
	}
	return data
}

func (c *cursor) file03(p *a2a.Part) {
	contents, kind := 0, ""
	for name := range c.object() {
		switch name {
		case "bytes", "fileWithBytes":
			if !c.null() {
				p.Content = a2a.Raw(c.base64())
				contents++
			}
		case "uri", "fileWithUri":
			if !c.null() {
				p.Content, kind = c.link()
				contents++
			}
		case "mimeType":
			p.MediaType = c.mediaType()
		case "name":
			p.Filename = c.filename()
		}
	}
	if contents != 1 {
		c.refuse("must have exactly one of bytes and uri")
	}
	p.MediaType = cmp.Or(p.MediaType, kind)
}

// createPushConfig03 reads the config of JSON-RPC, and the two forms that clients of
// HTTP+JSON send: the proto's request, and the body that its HTTP rule names.
func (c *cursor) createPushConfig03(cfg *a2a.PushConfig) {
	cfg.TaskID = a2a.TaskID(c.said.task)
	id := c.outerPushConfig03(cfg)
	if cfg.ID == "" {
		cfg.ID = id
	}
	c.need("taskId", string(cfg.TaskID))
	if cfg.URL == "" {
		c.missing("pushNotificationConfig")
	}
}

func (c *cursor) outerPushConfig03(cfg *a2a.PushConfig) (id string) {
	for name := range c.object() {
		switch name {
		case "taskId":
			named(c, &cfg.TaskID, c.taskID())
		case "parent", "name":
			of, config := c.resource()
			named(c, &cfg.TaskID, of)
			id = cmp.Or(id, config)
		case "configId":
			id = c.configID()
		case "pushNotificationConfig":
			c.hook03(cfg, "")
		case "config":
			id = cmp.Or(id, c.outerPushConfig03(cfg))
		}
	}
	return id
}

// hook03 reads a config whose fields 1.0 names with the prefix.
func (c *cursor) hook03(cfg *a2a.PushConfig, prefix string) {
	c.wrote("taskPushNotificationConfig")
	for name := range c.object() {
		c.wrote(prefix + name)
		switch name {
		case "id":
			cfg.ID = c.configID()
		case "url":
			cfg.URL = c.url()
		case "token":
			cfg.Token = c.label(maxToken)
		case "authentication":
			cfg.Auth = c.auth03(prefix + name)
		}
	}
	if cfg.URL == "" {
		c.missing("url")
	}
}

// auth03 reads an authentication, which 1.0 names field. Its schemes are those that the
// receiver takes, and may be none: then nothing is sent.
func (c *cursor) auth03(field string) *a2a.PushAuthInfo {
	if c.null() {
		return nil
	}

	auth := &a2a.PushAuthInfo{}
	var schemes []string
	c.called(field+".scheme", c.path("schemes"))

	for name := range c.object() {
		switch name {
		case "schemes":
			schemes = slices.DeleteFunc(list(c, maxModes, (*cursor).scheme), func(s string) bool { return s == "" })
		case "credentials":
			auth.Credentials = c.label(maxToken)
		}
	}

	switch {
	case len(schemes) > 0:
		auth.Scheme = strings.Join(schemes, between)
	case auth.Credentials != "":
		c.missing("schemes")
	default:
		return nil
	}
	return auth
}

// scheme decodes one scheme of several. Empty means one that nobody can perform.
func (c *cursor) scheme() string {
	s, _ := c.string()
	if len(s) > maxScheme || strings.ContainsFunc(s, unicode.IsControl) {
		return ""
	}
	return s
}

// between stands between the schemes of one config. No scheme has a control character.
const between = "\n"

// Schemes are the schemes of a config, the preferred one first. 1.0 has one. 0.3 names all that
// the receiver takes, and the sender chooses.
func Schemes(a *a2a.PushAuthInfo) []string { return strings.Split(a.Scheme, between) }

// getPushConfig03 reads the id of a config, or none for the first config: 0.3 leaves the id
// optional.
func (c *cursor) getPushConfig03(req *a2a.GetTaskPushConfigRequest) {
	c.onePushConfig03(&req.TaskID, &req.ID)
}

// listPushConfigs03 reads pages in HTTP+JSON alone: in JSON-RPC the answer has no place for the
// next one.
func (c *cursor) listPushConfigs03(req *a2a.ListTaskPushConfigRequest) {
	if c.dialect == dialect.V03REST {
		c.listPushConfigs(req)
	} else {
		c.onePushConfig03(&req.TaskID, new(string))
	}
}

func (c *cursor) deletePushConfig03(req *a2a.DeleteTaskPushConfigRequest) {
	c.onePushConfig03(&req.TaskID, &req.ID)
	c.need("pushNotificationConfigId", req.ID)
}

func (c *cursor) onePushConfig03(task *a2a.TaskID, id *string) {
	*task, *id = a2a.TaskID(c.said.task), c.said.config
	for name := range c.object() {
		switch name {
		case "id":
			named(c, task, c.taskID())
		case "pushNotificationConfigId":
			s, _ := c.string()
			named(c, id, s)
		}
	}
	c.need("id", string(*task))
}
