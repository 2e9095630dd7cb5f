// Package world assembles the parts below a service for its tests: a store in a temporary
// folder, a queue that notes its jobs, a desk, keys, callers and a guarded way out.
//
//	w := world.New(t, world.Config{})
//	service := push.New(push.Config{Desk: w.Desk(w.Store), Store: w.Store, Keys: world.Keys(t)})
//	world.Finish(t, w.Store, "t1", w.Moment(), nil, task.Outcome{State: a2a.TaskStateCompleted})
//
// All parts are real. It contains no service: each test puts its own on top. For doors there is what
// answers are compared with.
package world

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"errand/shared/adapters/local"
	"errand/shared/adapters/sqlstore"
	"errand/shared/auth"
	"errand/shared/desk"
	"errand/shared/egress"
	"errand/shared/keys"
	"errand/shared/secret"
	"errand/shared/task"
)

// Config is the configuration of a World. The zero value has a store and a queue that keeps
// its jobs.
type Config struct {
	Path    string                  // the store's file; default: a new one
	Now     func() time.Time        // the clock of store and desk; default time.Now
	Handler http.Handler            // receives the jobs, at the paths of package queue; nil: nothing receives them
	Lanes   map[string]local.Limits // of the queue; default: those of the local queue
}

// A World is a store, a queue and the rules for both.
type World struct {
	Path  string
	Store *sqlstore.DB
	Jobs  *Jobs
	Queue *local.Queue // it delivers the jobs; nil without a handler
	Rules task.Rules
	Now   func() time.Time
	Log   *slog.Logger // discards

	t     testing.TB
	close sync.Once
}

// New opens a store and a queue, and closes both when the test ends.
func New(t testing.TB, c Config) *World {
	t.Helper()
	w := &World{Path: c.Path, Jobs: &Jobs{}, Rules: task.Defaults(), Now: c.Now, Log: slog.New(slog.DiscardHandler), t: t}
	if w.Path == "" {
		w.Path = filepath.Join(t.TempDir(), "errand.db")
	}
	if w.Now == nil {
		w.Now = time.Now
	}

	store, err := sqlstore.Open(context.Background(), w.Path, sqlstore.Options{Now: w.Now, Log: w.Log})
	if err != nil {
		t.Fatal(err)
	}

	w.Store = store
	if c.Handler != nil {
		w.Queue = local.NewQueue(local.QueueConfig{Handler: c.Handler, Lanes: c.Lanes, Log: w.Log})
		w.Jobs.Pass(w.Queue)
	}

	t.Cleanup(w.Close)
	return w
}

// Close closes the queue, which cuts off the deliveries that still run after a minute, and
// then the store. A second Close does nothing.
func (w *World) Close() {
	w.close.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		var err error
		if w.Queue != nil {
			err = w.Queue.Close(ctx)
		}
		if err := errors.Join(err, w.Store.Close()); err != nil {
			w.t.Error(err)
		}
	})
}

// Desk makes a desk that changes records of store and adds jobs to w.Jobs.
func (w *World) Desk(store task.Store) *desk.Desk {
	return desk.New(desk.Config{Store: store, Queue: w.Jobs, Rules: w.Rules, Now: w.Now, Log: w.Log})
}

// Moment is the current time under the rules.
func (w *World) Moment() task.Moment { return w.Rules.At(w.Now()) }

// Load reads a record.
func (w *World) Load(id string) task.Record {
	w.t.Helper()
	r, err := w.Store.Load(context.Background(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// Keys makes a ring with one key.
func Keys(t testing.TB) *keys.Keyring {
	t.Helper()
	text, err := keys.Generate("", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return keys.New(keys.Config{Read: func(context.Context) (secret.Value, error) { return secret.NewValue([]byte(text)) }})
}

// Ring reads a ring of keys.
func Ring(t testing.TB, k *keys.Keyring) keys.Ring {
	t.Helper()
	ring, err := k.Ring(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// Access gives each name an API key, and returns the keys by name. The name "ops" is an
// operator. Without names there are no keys, and all callers are anonymous.
func Access(t testing.TB, names ...string) (*auth.Access, map[string]string) {
	t.Helper()
	if len(names) == 0 {
		access, err := auth.Load("", auth.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return access, nil
	}

	byName := map[string]string{}
	text := "limits: {requests: none}\nprincipals:\n" // tests are faster than clients

	for _, name := range names {
		key, hash := auth.NewKey()
		byName[name] = key
		text += fmt.Sprintf("  - {name: %s, operator: %v, keys: [%s]}\n", name, name == "ops", hash)
	}

	path := filepath.Join(t.TempDir(), "access.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}

	access, err := auth.Load(path, auth.Options{})
	if err != nil {
		t.Fatal(err)
	}

	return access, byName
}

// CheckURL checks a webhook's URL as an agent without an allow-list does.
func CheckURL(t testing.TB) func(string) error {
	t.Helper()
	out, err := egress.New(egress.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return out.CheckURL
}
