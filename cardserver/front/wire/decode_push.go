package wire

import "github.com/a2aproject/a2a-go/v2/a2a"

// pushConfig decodes the shape of a webhook config. Where it may point and which
// schemes the sender can perform is the handler's to say.
func (c *cursor) pushConfig() *a2a.PushConfig {
	if c.null() {
		return nil
	}
	cfg := &a2a.PushConfig{}
	for name := range c.object() {
		switch name {
		case "tenant":
			cfg.Tenant = c.label(maxID)
		case "id":
			cfg.ID = c.configID()
		case "taskId":
			cfg.TaskID = c.taskID()
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
	return cfg
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

func (c *cursor) createPushConfig() *a2a.PushConfig {
	cfg := c.pushConfig()
	if cfg == nil {
		cfg = &a2a.PushConfig{}
	}
	if cfg.TaskID == "" {
		c.missing("taskId")
	}
	return cfg
}

func (c *cursor) getPushConfig() *a2a.GetTaskPushConfigRequest {
	tenant, task, id := c.pushConfigName()
	return &a2a.GetTaskPushConfigRequest{Tenant: tenant, TaskID: task, ID: id}
}

func (c *cursor) deletePushConfig() *a2a.DeleteTaskPushConfigRequest {
	tenant, task, id := c.pushConfigName()
	return &a2a.DeleteTaskPushConfigRequest{Tenant: tenant, TaskID: task, ID: id}
}

func (c *cursor) pushConfigName() (tenant string, task a2a.TaskID, id string) {
	for name := range c.object() {
		switch name {
		case "tenant":
			tenant = c.label(maxID)
		case "taskId":
			task = c.taskID()
		case "id":
			id, _ = c.string()
		}
	}
	if task == "" {
		c.missing("taskId")
	}
	if id == "" {
		c.missing("id")
	}
	return tenant, task, id
}

func (c *cursor) listPushConfigs() *a2a.ListTaskPushConfigRequest {
	req := &a2a.ListTaskPushConfigRequest{}
	for name := range c.object() {
		switch name {
		case "tenant":
			req.Tenant = c.label(maxID)
		case "taskId":
			req.TaskID = c.taskID()
		case "pageSize":
			req.PageSize = c.int(1, maxPage)
		case "pageToken":
			req.PageToken = c.label(maxToken)
		}
	}
	if req.TaskID == "" {
		c.missing("taskId")
	}
	return req
}
