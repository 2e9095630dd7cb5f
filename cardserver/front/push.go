package front

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"errand/cardserver/front/wire"
	"errand/shared/dialect"
	"errand/shared/task"
	"errand/shared/webhook"
)

const maxWebhookID = 64

// pushes refuses webhooks if the agent's definition switches push notifications off.
func (o *operations) pushes() error {
	if o.cfg.Agent.Capabilities.PushNotifications {
		return nil
	}
	return a2a.NewError(a2a.ErrPushNotificationNotSupported, "this agent takes no webhooks (capabilities.pushNotifications of its card); leave them out and read the task with GetTask")
}

// CreateTaskPushConfig implements the operation. A configuration with the id of another one
// replaces it. A URL has one configuration on a task: a second one with another id is
// refused, and one without an id replaces the first. On a task that has ended it delivers the task as it is.
func (o *operations) CreateTaskPushConfig(ctx context.Context, req *a2a.PushConfig) (*a2a.PushConfig, error) {
	if err := o.pushes(); err != nil {
		return nil, err
	}
	r, unfed, err := o.load(ctx, req.Tenant, req.TaskID)
	if err != nil {
		return nil, err
	}
	h, err := o.hook(ctx, r.Owner, req, "")
	if err != nil {
		return nil, err
	}
	if unfed != nil {
		if r, err = o.begin(ctx, *unfed); err != nil {
			return nil, failure(err)
		}
	}

	var set task.Webhook // h with the id that the task has it under
	r, err = o.cfg.Desk.Change(ctx, r, func(r task.Record, now task.Moment) (task.Record, bool, error) {
		var err error
		if set, err = r.WebhookAt(h); err != nil {
			return r, false, err
		}
		return r.SetWebhook(now, set)
	})
	if err != nil {
		return nil, failure(err)
	}
	return pushConfig(r, set), nil
}

// GetTaskPushConfig implements the operation. A missing configuration is answered like a
// missing task (P5). Without an id, which only 0.3 allows, the first one is meant.
func (o *operations) GetTaskPushConfig(ctx context.Context, req *a2a.GetTaskPushConfigRequest) (*a2a.PushConfig, error) {
	if err := o.pushes(); err != nil {
		return nil, err
	}
	r, _, err := o.load(ctx, req.Tenant, req.TaskID)
	if err != nil {
		return nil, err
	}
	h, ok := r.Webhook(req.ID)
	if req.ID == "" && len(r.Webhooks) > 0 {
		h, ok = r.Webhooks[0], true
	}
	if !ok {
		return nil, a2a.NewError(a2a.ErrTaskNotFound, "the task has no push notification config of this id")
	}
	return pushConfig(r, h), nil
}

// ListTaskPushConfigs implements the operation.
func (o *operations) ListTaskPushConfigs(ctx context.Context, req *a2a.ListTaskPushConfigRequest) (*a2a.ListTaskPushConfigResponse, error) {
	if err := o.pushes(); err != nil {
		return nil, err
	}
	r, _, err := o.load(ctx, req.Tenant, req.TaskID)
	if err != nil {
		return nil, err
	}
	first := 0
	if req.PageToken != "" {
		if first, err = strconv.Atoi(req.PageToken); err != nil || first < 1 || first > len(r.Webhooks) {
			return nil, wire.Invalid("pageToken", "is not the nextPageToken of this list; begin again without it")
		}
	}
	out := &a2a.ListTaskPushConfigResponse{Configs: []*a2a.PushConfig{}}
	for i, h := range r.Webhooks[first:] {
		if req.PageSize > 0 && i == req.PageSize {
			out.NextPageToken = strconv.Itoa(first + i)
			break
		}
		out.Configs = append(out.Configs, pushConfig(r, h))
	}
	return out, nil
}

// DeleteTaskPushConfig implements the operation. Deleting an absent configuration succeeds.
func (o *operations) DeleteTaskPushConfig(ctx context.Context, req *a2a.DeleteTaskPushConfigRequest) error {
	if err := o.pushes(); err != nil {
		return err
	}
	r, unfed, err := o.load(ctx, req.Tenant, req.TaskID)
	if err != nil || unfed != nil { // which has none
		return err
	}
	_, err = o.cfg.Desk.Change(ctx, r, func(r task.Record, now task.Moment) (task.Record, bool, error) {
		return r.DropWebhook(now, req.ID)
	})
	if err != nil {
		return failure(err)
	}
	return nil
}

// webhook checks a configuration and makes a webhook of it, with sealed secrets and the
// version of the protocol that the request has (P22). prefix is the place of the
// configuration in the request.
func (o *operations) hook(ctx context.Context, owner string, c *a2a.PushConfig, prefix string) (task.Webhook, error) {
	if err := o.cfg.CheckURL(c.URL); err != nil {
		return task.Webhook{}, wire.Invalid(prefix+"url", err.Error())
	}

	h := task.Webhook{ID: c.ID, URL: c.URL}
	if version(ctx) == dialect.Version03 {
		h.Dialect = dialect.Version03
	}
	if h.ID == "" {
		h.ID = task.WebhookID(c.URL)
	}
	if len(h.ID) > maxWebhookID || strings.Trim(h.ID, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
		return task.Webhook{}, wire.Invalid(prefix+"id", "must be at most 64 letters, digits, dots, dashes and underscores")
	}

	if !webhook.Visible(c.Token) || c.Token != strings.TrimSpace(c.Token) {
		return task.Webhook{}, wire.Invalid(prefix+"token", "must be printable ASCII without spaces around it, because it is sent as a header")
	}

	secrets := webhook.Secrets{Token: c.Token}
	if a := c.Auth; a != nil {
		scheme, err := o.scheme(owner, c)
		switch {
		case errors.Is(err, webhook.ErrScheme), errors.Is(err, webhook.ErrIDToken):
			return task.Webhook{}, wire.Invalid(prefix+"authentication.scheme", err.Error())
		case err != nil:
			return task.Webhook{}, wire.Invalid(prefix+"authentication.credentials", err.Error())
		}

		h.Scheme, secrets.Credentials = scheme, a.Credentials
	}

	if secrets == (webhook.Secrets{}) {
		return h, nil
	}

	ring, err := o.cfg.Keys.Ring(ctx)
	if err != nil { // secrets are never stored unsealed
		return task.Webhook{}, wire.Unavailable(time.Second, err)
	}

	h.Sealed = secrets.Seal(ring, o.cfg.Desk.Now(), owner, c.URL)
	return h, nil
}

// scheme is the first scheme of a configuration that can be performed. If there is none, the
// error is about the first that is known.
func (o *operations) scheme(owner string, c *a2a.PushConfig) (string, error) {
	no := webhook.ErrScheme
	for _, s := range wire.Schemes(c.Auth) {
		err := webhook.CheckAuth(s, c.Auth.Credentials, c.URL, o.idTokens(owner))
		if err == nil {
			return s, nil
		}
		if errors.Is(no, webhook.ErrScheme) {
			no = err
		}
	}
	return "", no
}

// idTokens reports to which origins the owner may have ID tokens sent. It is nil if the
// program has no service account.
func (o *operations) idTokens(owner string) func(origin string) bool {
	if !o.cfg.IDTokens {
		return nil
	}
	return func(origin string) bool { return o.cfg.Access.IDTokens(owner, origin) }
}

// version is the version of the protocol that the request has.
func version(ctx context.Context) string {
	if cc, ok := a2asrv.CallContextFrom(ctx); ok {
		if v, ok := cc.ServiceParams().Get(a2a.SvcParamVersion); ok {
			return v[0]
		}
	}
	return dialect.Version1
}

// pushConfig is a webhook as clients see it: without its secrets.
func pushConfig(r task.Record, h task.Webhook) *a2a.PushConfig {
	c := &a2a.PushConfig{TaskID: r.Task.ID, ID: h.ID, URL: h.URL}
	if h.Scheme != "" {
		c.Auth = &a2a.PushAuthInfo{Scheme: h.Scheme}
	}
	return c
}
