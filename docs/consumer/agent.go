package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// An agent reads tasks over HTTP+JSON, one of the bindings of A2A 1.0. A client of an A2A
// SDK works too.
type agent struct {
	base   *url.URL
	key    string
	client *http.Client
}

// maxBody is more than the JSON of any task, because the agent keeps less than 1 MiB of
// each.
const maxBody = 8 << 20

func newAgent(base *url.URL, key string) *agent {
	return &agent{base: base, key: key, client: &http.Client{
		Timeout: callTimeout,
		// The key is for this address only.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// A task has the fields of an A2A task that this pipeline reads.
type task struct {
	ID     string
	Status struct {
		State     string
		Timestamp time.Time
	}
	Artifacts []struct {
		Parts []struct{ Text string }
	}
}

// text is all text of the artifacts.
func (t task) text() string {
	var b strings.Builder
	for _, a := range t.Artifacts {
		for _, p := range a.Parts {
			b.WriteString(p.Text)
		}
	}
	return b.String()
}

// errNoTask is final: another try would give the same answer.
var errNoTask = errors.New("the agent has no such task for this key; it belongs to another principal, or has been deleted")

// task calls GetTask, without the history.
func (a *agent) task(ctx context.Context, id string) (task, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, a.base.JoinPath("tasks", url.PathEscape(id)).String()+"?historyLength=0", nil)
	if err != nil {
		return task{}, err
	}

	r.Header.Set("A2A-Version", "1.0")
	if a.key != "" {
		r.Header.Set("Authorization", "Bearer "+a.key)
	}

	resp, err := a.client.Do(r)
	if err != nil {
		return task{}, fmt.Errorf("reading the task: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return task{}, fmt.Errorf("reading the task: %w", err)
	}

	switch {
	case resp.StatusCode == http.StatusNotFound && taskNotFound(body):
		return task{}, errNoTask
	case resp.StatusCode != http.StatusOK:
		return task{}, fmt.Errorf("the agent answers %s%s", resp.Status, advice(resp.StatusCode))
	}

	var t task
	if err := json.Unmarshal(body, &t); err != nil {
		return task{}, fmt.Errorf("the agent's answer is no task: %w", err)
	}

	return t, nil
}

// taskNotFound tells the agent's 404 from the 404 of a wrong address, after which every
// event would be skipped.
func taskNotFound(body []byte) bool {
	var answer struct {
		Error struct {
			Details []struct{ Reason string }
		}
	}
	if json.Unmarshal(body, &answer) != nil {
		return false
	}
	for _, d := range answer.Error.Details {
		if d.Reason == "TASK_NOT_FOUND" {
			return true
		}
	}
	return false
}

func advice(status int) string {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return "; does -key hold an API key of its access file?"
	case http.StatusNotFound, http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return "; is -agent its address, without a path of the bindings?"
	}
	return ""
}
