package sweep_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"errand/functions/sweep"
	"errand/shared/auth"
	"errand/shared/catalogue"
	"errand/shared/lab/world"
	"errand/shared/task"
)

// A sender answers each request in the place of other agents.
type sender func(*http.Request) (*http.Response, error)

func (s sender) Do(r *http.Request) (*http.Response, error) { return s(r) }

const agentCard = `{"name":"X","description":"Flies","version":"1","supportedInterfaces":[{"url":"https://x.example/a2a","protocolBinding":"JSONRPC","protocolVersion":"1.0"}],
"capabilities":{},"defaultInputModes":["text/plain"],"defaultOutputModes":["text/plain"],"skills":[{"id":"fly","name":"Fly","description":"Flies","tags":["air"]}]}`

// The sweep of one lane looks for the cards of the catalogue, and no other one does.
func TestSweepLooksForCards(t *testing.T) {
	passed, reads := time.Duration(0), 0
	now := func() time.Time { return time.Now().Add(passed) }
	w := world.New(t, world.Config{Now: now})
	_, hash := auth.NewKey()
	path := filepath.Join(t.TempDir(), "access.yaml")
	if err := os.WriteFile(path, []byte("catalogue: {}\nprincipals: [{name: alice, keys: ["+hash+"], catalogue: [register]}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	access, err := auth.Load(path, auth.Options{})
	if err != nil {
		t.Fatal(err)
	}

	agents := catalogue.New(catalogue.Config{
		KV: w.Store.KV(), Policy: access, Now: now, Log: w.Log, CheckURL: func(string) error { return nil },
		Client: sender(func(*http.Request) (*http.Response, error) {
			reads++
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(agentCard))}, nil
		}),
	})
	if _, err := agents.Register(t.Context(), "alice", "https://x.example", ""); err != nil {
		t.Fatal(err)
	}
	s := sweep.New(sweep.Config{Desk: w.Desk(w.Store), Store: w.Store, KV: w.Store.KV(), Catalogue: agents, Queue: w.Jobs, Log: w.Log})
	for _, step := range []struct {
		lane  string
		after time.Duration
		reads int
	}{{task.Turns, 0, 1}, {task.Deliveries, time.Hour, 1}, {task.Turns, 0, 2}, {task.Turns, 0, 2}} {
		passed += step.after
		run(s, step.lane, now())
		if reads != step.reads {
			t.Errorf("after the sweep of %s the card was read %d times, want %d", step.lane, reads, step.reads)
		}
	}
}
