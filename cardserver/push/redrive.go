package push

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"errand/cardserver/api"
	"errand/cardserver/page"
	"errand/shared/auth"
	"errand/shared/task"
)

// Limits of one request. It is answered well before clients and proxies lose their
// patience, and says if there is more.
const (
	maxBody    = 16 << 10
	pageSize   = 50
	maxPage    = 100
	redriveFor = 20 * time.Second

	listedNotifications = 3 // of each webhook in a list of many, which could be 256 of a thousand
)

// deadLetters lists webhooks that were given up. Those of the task that changed last come
// first.
func (a *API) deadLetters(q *api.Call) error {
	all, err := q.Query("owner", "pageSize", "pageToken")
	if err != nil {
		return err
	}

	var query task.DeadQuery
	param := all.Get
	if query.Owner, query.All, err = ownerOf(q, param("owner")); err != nil {
		return err
	}

	if query.Limit, err = api.Number(all, "pageSize", pageSize, maxPage); err != nil {
		return err
	}

	if text := param("pageToken"); text != "" {
		from, err := page.Parse(text, "")
		if err != nil {
			return api.Invalid("pageToken", "is not the nextPageToken of this list; begin again without it")
		}
		query.After = from.Ref()
	}

	dead, err := a.cfg.Store.Dead(q.Context(), query)
	if err != nil {
		return err
	}

	out := lettersView{Webhooks: []hookView{}}
	for _, r := range dead.Records {
		for _, h := range r.Webhooks {
			if h.State == task.WebhookDead {
				v := viewOf(q, r, h)
				v.Pending = v.Pending[:min(len(v.Pending), listedNotifications)]
				out.Webhooks = append(out.Webhooks, v)
			}
		}

		if dead.More {
			out.Next = page.After(r).String()
		}
	}

	return q.JSON(http.StatusOK, out)
}

// redrive sends a webhook its notifications again: from a notification or a time on, or the pending ones.
func (a *API) redrive(q *api.Call) error {
	var in struct {
		FromNotification *int       `json:"fromNote"`
		Since            *time.Time `json:"since"`
	}
	if err := read(q, &in); err != nil {
		return err
	}

	r, h, err := a.loadWebhook(q)
	if err != nil {
		return err
	}

	from := 0
	switch {
	case in.FromNotification != nil && in.Since != nil:
		return api.Invalid("since", "and fromNote say the same twice: leave one of them out")
	case in.FromNotification != nil:
		if from = *in.FromNotification; from < 1 || from > len(r.Notifications) {
			return api.Invalid("fromNote", "must be the number of a note, of which there are "+strconv.Itoa(len(r.Notifications)))
		}
	case in.Since != nil:
		if from = firstSince(r.Notifications, *in.Since); from == 0 {
			return api.Invalid("since", "is later than every note; the last one is of "+lastNotification(r.Notifications))
		}
	}

	var ours task.Webhook
	r, err = a.cfg.Desk.Change(q.Context(), r, func(r task.Record, now task.Moment) (task.Record, bool, error) {
		next, changed, err := r.Redrive(now, h.ID, h.Gen, from)
		if changed {
			ours, _ = next.Webhook(h.ID)
		}
		return next, changed, err
	})
	if err != nil {
		return a.soon(err, r, h.ID)
	}

	// If the answer of the write was lost, the next look finds the change done. An equal
	// request of the same millisecond is the same re-drive.
	now, ok := r.Webhook(h.ID)
	if !ok || now.Gen != ours.Gen || !now.Since.Equal(ours.Since) || now.Cursor != ours.Cursor {
		return &api.Problem{Status: http.StatusConflict, Detail: "the webhook was replaced, deleted or re-driven by somebody else at this moment; look at it and ask again"}
	}

	return q.JSON(http.StatusOK, viewOf(q, r, now))
}

// firstSince is the number of the first notification at that time or later; 0: there is none.
func firstSince(notes []task.Notification, since time.Time) int {
	for i, n := range notes {
		if !n.At.Before(since) {
			return i + 1
		}
	}
	return 0
}

func lastNotification(notes []task.Notification) string {
	if len(notes) == 0 {
		return "never"
	}
	return notes[len(notes)-1].At.UTC().Format(time.RFC3339Nano)
}

// redriveAll sends all dead webhooks of an owner their pending notifications.
func (a *API) redriveAll(q *api.Call) error {
	var in struct {
		Owner string `json:"owner"`
	}
	if err := read(q, &in); err != nil {
		return err
	}

	query := task.DeadQuery{Limit: pageSize}
	var err error
	if query.Owner, query.All, err = ownerOf(q, in.Owner); err != nil {
		return err
	}

	var out redrivenView
	for end := time.Now().Add(redriveFor); ; {
		dead, err := a.cfg.Store.Dead(q.Context(), query)
		if err != nil {
			return err
		}

		for _, r := range dead.Records {
			n, err := a.redriveTask(q.Context(), r.ID())
			if err != nil {
				return err
			}
			out.Webhooks += n
			query.After = task.Ref{At: r.Stamp(), ID: r.ID()}
		}

		if out.More = dead.More; !out.More || time.Now().After(end) {
			return q.JSON(http.StatusOK, out)
		}
	}
}

// redriveTask revives a task's dead webhooks and returns their number.
func (a *API) redriveTask(ctx context.Context, id string) (hooks int, err error) {
	_, err = a.cfg.Desk.ChangeByID(ctx, id, func(r task.Record, now task.Moment) (next task.Record, changed bool, err error) {
		next, hooks = r, 0
		for _, h := range r.Webhooks {
			if h.State != task.WebhookDead {
				continue
			}

			var did bool
			next, did, err = next.Redrive(now, h.ID, h.Gen, 0)
			if errors.Is(err, task.ErrSoon) {
				continue // it is among those of a later request
			}
			if err != nil {
				return r, false, err
			}
			if did {
				hooks++
			}
		}

		return next, hooks > 0, nil
	})

	switch {
	case errors.Is(err, task.ErrNotFound): // purged meanwhile
		return 0, nil
	case errors.Is(err, task.ErrNewer), errors.Is(err, task.ErrUnreadable), errors.Is(err, task.ErrTooLarge):
		// No later write will succeed either, and the others must not wait for it.
		a.cfg.Log.ErrorContext(ctx, "a task's webhooks cannot be re-driven", "task", id, "err", err)
		return 0, nil
	}

	return hooks, err
}

// ping sends one message to a webhook, dead or alive. Its result is among the webhook's
// attempts afterwards.
func (a *API) ping(q *api.Call) error {
	if err := read(q, &struct{}{}); err != nil {
		return err
	}
	r, h, err := a.loadWebhook(q)
	if err != nil {
		return err
	}

	var ours time.Time
	r, err = a.cfg.Desk.Change(q.Context(), r, func(r task.Record, now task.Moment) (task.Record, bool, error) {
		if h, ok := r.Webhook(h.ID); ok && !ours.IsZero() && h.Prompted.Equal(ours) {
			return r, false, nil // the answer of the write was lost
		}
		next, changed, err := r.AskPing(now, h.ID)
		if changed {
			ours = now.Now
		}
		return next, changed, err
	})
	if err != nil {
		return a.soon(err, r, h.ID)
	}
	if h, ok := r.Webhook(h.ID); ok {
		return q.JSON(http.StatusAccepted, viewOf(q, r, h))
	}
	return task.ErrNotFound // deleted meanwhile
}

// soon says when a ping or a re-drive may be requested again, if that is the error.
func (a *API) soon(err error, r task.Record, hook string) error {
	if !errors.Is(err, task.ErrSoon) {
		return err
	}
	h, _ := r.Webhook(hook)
	return auth.Limited("rest", max(h.Rest(a.cfg.Desk.Now()), time.Second),
		"a ping or a re-drive of this webhook was requested less than 10 seconds ago; look at its attempts, and ask again when Retry-After is over")
}

// read reads the request's body, and refuses parameters.
func read(q *api.Call, v any) error {
	if _, err := q.Query(); err != nil {
		return err
	}
	return q.Read(v, maxBody, descriptionPath)
}
