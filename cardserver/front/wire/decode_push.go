package wire

import "github.com/a2aproject/a2a-go/v2/a2a"

// pushConfig decodes the shape of a webhook config. The handler decides which URLs and
// schemes are welcome.
func (c *cursor) pushConfig(cfg *a2a.PushConfig) {
	for name := range c.object() {
		switch name {
		case "tenant":
			named(c, &cfg.Tenant, c.label(maxID))
		case "id":
			cfg.ID = c.configID()
		case "taskId":
			named(c, &cfg.TaskID, c.taskID())
		case "url":
			cfg.URL = c.url()
		case "token":
			cfg.Token = c.label(maxToken)
		case "authentication":
			cfg.Auth = c.pushAuth()
		}
	}
	if cfg.URL == "" {
		c.missing("url")
	}
}

func (c *cursor) pushAuth() *a2a.PushAuthInfo {
	if c.null() {
		return nil
	}
	auth := &a2a.PushAuthInfo{}
	for name := range c.object() {
		switch name {
		case "scheme":
			auth.Scheme = c.label(maxScheme)
		case "credentials":
			auth.Credentials = c.label(maxToken)
		}
	}
	if auth.Scheme == "" {
		c.missing("scheme")
	}
	return auth
}

func (c *cursor) createPushConfig(cfg *a2a.PushConfig) {
	cfg.Tenant, cfg.TaskID = c.said.tenant, a2a.TaskID(c.said.task)
	c.pushConfig(cfg)
	c.need("taskId", string(cfg.TaskID))
}

func (c *cursor) getPushConfig(req *a2a.GetTaskPushConfigRequest) {
	c.onePushConfig(&req.Tenant, &req.TaskID, &req.ID)
}

func (c *cursor) deletePushConfig(req *a2a.DeleteTaskPushConfigRequest) {
	c.onePushConfig(&req.Tenant, &req.TaskID, &req.ID)
}

func (c *cursor) onePushConfig(tenant *string, task *a2a.TaskID, id *string) {
	*tenant, *task, *id = c.said.tenant, a2a.TaskID(c.said.task), c.said.config
	for name := range c.object() {
		switch name {
		case "tenant":
			named(c, tenant, c.label(maxID))
		case "taskId":
			named(c, task, c.taskID())
		case "id":
			s, _ := c.string()
			named(c, id, s)
		}
	}
	c.need("taskId", string(*task))
	c.need("id", *id)
}

func (c *cursor) listPushConfigs(req *a2a.ListTaskPushConfigRequest) {
	req.Tenant, req.TaskID = c.said.tenant, a2a.TaskID(c.said.task)
	for name := range c.object() {
		switch name {
		case "tenant":
			named(c, &req.Tenant, c.label(maxID))
		case "taskId":
			named(c, &req.TaskID, c.taskID())
		case "pageSize":
			req.PageSize = c.int(0, maxPage) // the proto cannot tell zero from absent
		case "pageToken":
			req.PageToken = c.label(maxToken)
		}
	}
	c.need("taskId", string(req.TaskID))
}
