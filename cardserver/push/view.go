package push

import (
	"time"

	"errand/cardserver/api"
	"errand/shared/task"
)

// hookView is a webhook as its owner sees it. It holds no secret.
type hookView struct {
	TaskID        string     `json:"taskId"`
	ID            string     `json:"id"`
	Owner         string     `json:"owner,omitempty"` // for operators
	URL           string     `json:"url"`
	State         string     `json:"state"`       // "active" or "dead"
	Gone          bool       `json:"gone"`        // dead because the receiver answered 410
	Notifications int        `json:"notes"`       // that exist so far
	Delivered     int        `json:"delivered"`   // notifications 1 to this one were answered 2xx
	Pending       []noteView `json:"pending"`     // the others, oldest first
	Failures      int        `json:"failures"`    // of the first of them
	NextAttempt   *time.Time `json:"nextAttempt"` // null: none is planned
	PingPending   bool       `json:"pingPending"` // a ping was requested and is not sent yet
	Attempts      []tryView  `json:"attempts"`    // the last ten, oldest first
}

// noteView is one event to be delivered: a state or a completed artifact.
type noteView struct {
	Notification int       `json:"note"` // its number; webhook-id is TASK/NOTE
	At           time.Time `json:"at"`
	State        string    `json:"state,omitempty"`
	Artifact     string    `json:"artifactId,omitempty"`
}

// tryView is one attempt.
type tryView struct {
	At           time.Time `json:"at"`
	Notification int       `json:"note"` // 0: a ping
	Status       int       `json:"status,omitempty"`
	Error        string    `json:"error,omitempty"` // there was no answer
}

type hooksView struct {
	Webhooks []hookView `json:"hooks"`
}

type lettersView struct {
	Webhooks []hookView `json:"hooks"`
	Next     string     `json:"nextPageToken"` // empty: the list ends here
}

type keysView struct {
	Secrets    []string `json:"secrets"`    // of signatures v1, whsec_..., the current one first
	PublicKeys []string `json:"publicKeys"` // of signatures v1a, whpk_...
	Subjects   []string `json:"subjects"`   // that tokens may have as sub, the present one first
	KeySet     string   `json:"keySet"`     // path of the JWKS, for tokens
}

// rerunView is the task that runs another one again.
type rerunView struct {
	Task    string `json:"taskId"`
	Context string `json:"contextId"`
	State   string `json:"state"`
	Reruns  string `json:"reruns"` // id of the other one
	Steps   int    `json:"steps"`  // that it goes on from
}

type redrivenView struct {
	Webhooks int  `json:"hooks"` // that are active again
	More     bool `json:"more"`  // there are more: ask again
}

func viewOf(q *api.Call, r task.Record, h task.Webhook) hookView {
	v := hookView{
		TaskID: r.ID(), ID: h.ID, URL: h.URL, State: h.State, Gone: h.Gone, Notifications: len(r.Notifications), Delivered: h.Cursor,
		Pending: []noteView{}, Failures: h.Attempt, PingPending: !h.Ping.IsZero(), Attempts: []tryView{},
	}
	if q.Caller.Operator {
		v.Owner = r.Owner
	}
	for i := h.Cursor; i < len(r.Notifications); i++ {
		n := r.Notifications[i]
		v.Pending = append(v.Pending, noteView{i + 1, n.At, string(n.State), string(n.Artifact)})
	}
	if len(v.Pending) > 0 && h.State == task.WebhookActive {
		v.NextAttempt = &h.Next
	}
	for _, t := range h.Tries {
		v.Attempts = append(v.Attempts, tryView{t.At, t.Notification, t.Status, classOf(q, t)})
	}
	return v
}
