package smoke

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

const (
	// harmless has no host, ever (RFC 2606): a quick agent may deliver before the webhook
	// is deleted. dangerous hands out a service account's credentials on most clouds.
	harmless  = "https://errand-smoke.invalid/"
	dangerous = "http://169.254.169.254/"

	// settle is how long to wait for a webhook that comes twice.
	settle = time.Second
)

// tryWebhooks uses only one binding, because all bindings lead to one agent.
func (r *run) tryWebhooks(ctx context.Context, b *binding) {
	if !r.card.Capabilities.PushNotifications {
		r.report.skip("webhook", "the card declares no push notifications")
		return
	}
	r.report.check(ctx, "keys", "", callTimeout, r.keySet)
	r.report.check(ctx, "configs", b.name, callTimeout, b.configs)
	r.report.check(ctx, "guard", b.name, callTimeout, b.guard)
	switch {
	case r.Webhook == "":
		r.report.skip("webhook", "delivery is not tried: add -webhook https://ADDRESS/ -listen 127.0.0.1:9099, where ADDRESS can be reached by the agent and leads to this machine (a tunnel, a reverse proxy)")
	case r.stuck:
		r.report.skip("webhook", "a task did not end before")
	default:
		r.report.check(ctx, "webhook", b.name, r.Timeout+settle+callTimeout, b.delivery)
	}
}

// configs registers a webhook, lists it and deletes it.
func (b *binding) configs(ctx context.Context) (string, error) {
	task, err := b.begin(ctx, b.ask())
	if err != nil {
		return "", err
	}
	defer b.leave(ctx, task)
	made, err := b.client.CreateTaskPushConfig(ctx, &a2a.PushConfig{TaskID: task.ID, URL: harmless})
	if errors.Is(err, a2a.ErrInvalidParams) {
		return "", remark("a webhook at " + harmless + ", an address without a host, is refused; -webhook tries one that leads to this machine")
	}
	if err != nil {
		return "", noPush(err)
	}

	listed := func() (bool, error) {
		all, err := b.client.ListTaskPushConfigs(ctx, &a2a.ListTaskPushConfigRequest{TaskID: task.ID})
		return slices.ContainsFunc(all, func(c *a2a.PushConfig) bool { return c.ID == made.ID && c.URL == harmless }), err
	}

	there, err := listed()
	deleted := b.client.DeleteTaskPushConfig(ctx, &a2a.DeleteTaskPushConfigRequest{TaskID: task.ID, ID: made.ID})

	switch {
	case err != nil:
		return "", err
	case !there:
		return "", wrong(nil, "a webhook was registered, but is not listed")
	case deleted != nil:
		return "", deleted
	}

	switch there, err = listed(); {
	case err != nil:
		return "", err
	case there:
		return "", wrong(nil, "a webhook was deleted, but is still listed")
	}

	return "a webhook is registered, listed and deleted", nil
}

// guard registers an address that no agent should ever call.
func (b *binding) guard(ctx context.Context) (string, error) {
	task, err := b.begin(ctx, b.ask())
	if err != nil {
		return "", err
	}
	defer b.leave(ctx, task)
	made, err := b.client.CreateTaskPushConfig(ctx, &a2a.PushConfig{TaskID: task.ID, URL: dangerous})
	switch _, refused := errors.AsType[*a2a.Error](err); {
	case err == nil:
		_ = b.client.DeleteTaskPushConfig(ctx, &a2a.DeleteTaskPushConfigRequest{TaskID: task.ID, ID: made.ID}) // the result is known already
		return "", remark("a webhook at " + dangerous + " is accepted. Errand refuses it unless ERRAND_PUSH_ALLOW names it, which is never advisable; A2A says that agents SHOULD refuse it (13.2)")
	case errors.Is(noPush(err), errNoPush):
		return "", errNoPush
	case !refused:
		return "", err
	}
	return "a webhook at " + dangerous + " is refused", nil
}

const errNoPush = omission("the agent has no push notifications, although its card declares them")

func noPush(err error) error {
	if errors.Is(err, a2a.ErrPushNotificationNotSupported) {
		return errNoPush
	}
	return err
}

// delivery registers a listener of this program as the webhook of a task.
func (b *binding) delivery(ctx context.Context) (string, error) {
	box, err := openMailbox(b.Listen, rand.Text())
	if err != nil {
		return "", wrong([]string{"name a free address of this machine: -listen 127.0.0.1:9099"}, "cannot listen for webhooks: %s", quote(err.Error()))
	}
	defer box.close()
	b.report.secrets = append(b.report.secrets, box.token)
	req := b.ask()
	req.Config.PushConfig = &a2a.PushConfig{URL: b.Webhook, Token: box.token}
	task, err := b.begin(ctx, req)
	if errors.Is(err, a2a.ErrInvalidParams) {
		return "", wrong([]string{
			"webhooks go to public https:// addresses on port 443 or 8443",
			"for a private one, of this machine for example, start the agent with ERRAND_PUSH_ALLOW=" + strings.TrimPrefix(b.Listen, "http://"),
		}, "the address is refused: %s", quote(err.Error()))
	}

	if err != nil {
		return "", err
	}
	defer b.leave(ctx, task)
	letters, err := box.until(ctx, task.ID, b.Timeout)
	if err != nil {
		return "", b.undelivered(ctx, box, task, len(letters))
	}

	return judgeLetters(letters)
}

// judgeLetters checks all webhooks of a task up to its end.
func judgeLetters(all []letter) (string, error) {
	ends, note := 0, 0
	ids := map[string]bool{}
	var twice []string

	for _, l := range all {
		switch {
		case l.fault != "":
			return "", wrong([]string{"a webhook of A2A 1.0 is a StreamResponse (section 4.3.3)"}, "a webhook cannot be read: %s", l.fault)
		case l.id != "" && ids[l.id]:
			twice = append(twice, l.id)
			continue
		case ends > 0 && !over(l.state):
			return "", wrong(nil, "webhooks came out of order: %s after the end", state(l.state))
		case l.note > 0 && l.note < note:
			return "", wrong(nil, "webhooks came out of order: %d after %d", l.note, note)
		}

		ids[l.id], note = true, max(note, l.note)
		if over(l.state) {
			ends++
		}
	}

	last := all[len(all)-1].state
	switch {
	case len(twice) > 0:
		return "", remark(fmt.Sprintf("%d webhooks came more than once, with the same Webhook-Id: delivery is at least once", len(twice)))
	case ends > 1:
		return "", remark(fmt.Sprintf("the end was sent %d times: A2A requires delivery at least once", ends))
	}

	return fmt.Sprintf("%d came, in order, the last says %s", len(all), state(last)), nil
}

// undelivered finds out on which side of the forward the webhook was lost.
func (b *binding) undelivered(ctx context.Context, box *mailbox, task *a2a.Task, came int) error {
	now, err := b.client.GetTask(ctx, &a2a.GetTaskRequest{ID: task.ID})
	if err != nil {
		return err
	}
	if !over(now.Status.State) {
		b.stuck = true
		return b.late(now)
	}
	what := fmt.Sprintf("task %s is %s, but no webhook about it came within %v (%d other webhooks came)", quote(string(now.ID)), state(now.Status.State), b.Timeout, came)
	if strangers := box.strangers(); strangers > 0 {
		return wrong([]string{"a proxy in between must leave the headers A2A-Notification-Token and X-A2A-Notification-Token unchanged"},
			"%s; %d requests came without the token that was registered", what, strangers)
	}
	if err := box.reach(ctx, b.Webhook); err != nil {
		return wrong([]string{"have " + quote(b.Webhook) + " forwarded to " + b.Listen + " on this machine, by POST and with the same path"},
			"%s; a request from here to %s did not arrive either: %s", what, quote(b.Webhook), quote(err.Error()))
	}
	return wrong([]string{
		"the address works from here. On one machine, see the log of the agent. On Google Cloud, see:",
		"log of functions: the answer of the address, or \"request refused at the door\" (ERRAND_INVOKER, ERRAND_FUNCTIONS_URL)",
		"gcloud pubsub subscriptions describe errand-notify, and pull errand-events-dead: events that could not be pushed",
		"gcloud tasks list --queue=errand-deliveries --location=REGION: deliveries that are refused",
	}, "%s", what)
}

// reach sends a request to an address that should lead to the mailbox.
func (m *mailbox) reach(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, http.NoBody)
	if err != nil {
		return err
	}
	req.Header.Set(probeHeader, m.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if !m.wasProbed() {
		return fmt.Errorf("another server answered it, with %s", resp.Status)
	}
	return nil
}
