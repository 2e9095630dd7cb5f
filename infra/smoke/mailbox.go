package smoke

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

// A mailbox keeps the webhooks that carry its token.
type mailbox struct {
	token  string
	server *http.Server

	mu      sync.Mutex
	letters []letter
	strange int
	probed  bool
	news    chan struct{} // holds one value after a webhook arrived
}

// A letter is one webhook.
type letter struct {
	task  a2a.TaskID
	id    string // Webhook-Id; empty if the agent sends none
	note  int    // number at the end of Errand's ids; 0: none
	state a2a.TaskState
	fault string
}

const probeHeader = "Errand-Smoke-Probe"

func openMailbox(address, token string) (*mailbox, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	m := &mailbox{token: token, news: make(chan struct{}, 1)}
	m.server = &http.Server{Handler: m, ReadTimeout: callTimeout}
	go func() { _ = m.server.Serve(l) }() // ends with close
	return m, nil
}

func (m *mailbox) close() { _ = m.server.Close() }

// ServeHTTP receives a webhook.
func (m *mailbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 4<<20))
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case r.Header.Get(probeHeader) == m.token:
		m.probed = true
		return
	case r.Header.Get("A2A-Notification-Token") != m.token && r.Header.Get("X-A2A-Notification-Token") != m.token:
		m.strange++
		w.WriteHeader(http.StatusForbidden)
		return
	case err != nil:
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	m.letters = append(m.letters, read(r.Header.Get("Webhook-Id"), body))
	select {
	case m.news <- struct{}{}:
	default:
	}
}

func read(id string, body []byte) letter {
	l := letter{id: id}
	l.note, _ = strconv.Atoi(id[strings.LastIndexAny(id, "-/")+1:]) // other agents use other numbers, or none
	var told a2a.StreamResponse
	if err := json.Unmarshal(body, &told); err != nil {
		l.fault = quote(err.Error())
		return l
	}
	l.task = told.TaskInfo().TaskID
	switch e := told.Event.(type) {
	case *a2a.Task:
		l.state = e.Status.State
	case *a2a.TaskStatusUpdateEvent:
		l.state = e.Status.State
	}
	return l
}

// until returns the webhooks for a task, a moment after the one about its end. A webhook
// that cannot be read counts as one of the task, because it has the task's token.
func (m *mailbox) until(ctx context.Context, id a2a.TaskID, limit time.Duration) ([]letter, error) {
	late, ended := time.After(limit), (<-chan time.Time)(nil)
	for {
		all, over := m.of(id)
		if over && ended == nil {
			ended = time.After(settle)
		}
		select {
		case <-ended:
			all, _ = m.of(id)
			return all, nil
		case <-m.news:
		case <-late:
			if !over {
				return all, errors.New("too late")
			}
			late = nil
		case <-ctx.Done():
			return all, ctx.Err()
		}
	}
}

func (m *mailbox) of(id a2a.TaskID) (all []letter, ended bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range m.letters {
		if l.task == id || l.fault != "" {
			all = append(all, l)
			ended = ended || over(l.state) || l.fault != ""
		}
	}
	return all, ended
}

func (m *mailbox) strangers() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.strange
}

func (m *mailbox) wasProbed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.probed
}
