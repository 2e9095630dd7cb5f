// Package setup turns the environment into running parts: it alone chooses
// adapters. Each port is chosen by a spec string, KIND or KIND:DETAILS.
//
// It starts nothing and listens nowhere.
package setup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"

	"errand/shared/agent"
	"errand/shared/bus"
	"errand/shared/egress"
	"errand/shared/gemini"
	"errand/shared/local"
	"errand/shared/model"
	"errand/shared/queue"
	"errand/shared/sqlstore"
	"errand/shared/standin"
	"errand/shared/task"
)

// A Store is what the programs ask of a store.
type Store interface {
	task.Store
	task.Chores
	io.Closer
}

// Parts are everything a program is made of.
type Parts struct {
	Agent  *agent.Agent
	Store  Store
	Model  model.Model
	Egress *egress.Client

	StandIn bool // Model is the stand-in, and says so
}

// Open makes the parts. What cannot work is reported before anything is opened, all
// at once and with the remedy.
func Open(ctx context.Context, e Env, log *slog.Logger) (*Parts, error) {
	p := &Parts{}
	var bad []error
	fail := func(err error) {
		if err != nil {
			bad = append(bad, err)
		}
	}
	var err error
	if p.Agent, err = agent.Load(e.Agent); err != nil {
		fail(fmt.Errorf("ERRAND_AGENT: %w; mend the file, or leave ERRAND_AGENT out for the embedded one", err))
	} else {
		fail(p.openModel(ctx, e))
	}
	allow, err := egress.ParseAllow(e.PushAllow)
	if err != nil {
		fail(fmt.Errorf("ERRAND_PUSH_ALLOW: %w", err))
	} else {
		p.Egress, err = egress.New(egress.Config{Allow: allow})
		fail(err)
	}
	path, err := storePath(e.Store)
	fail(err)
	fail(mustBe("ERRAND_QUEUE", e.Queue, "local"))
	fail(mustBe("ERRAND_BUS", e.Bus, "local"))
	if e.CloudRun {
		fail(errors.New("ERRAND_STORE: SQLite does not survive on Cloud Run (K_SERVICE is set), whose disk is memory; run this program where its file stays"))
	}
	if len(bad) > 0 {
		return nil, errors.Join(bad...)
	}
	if p.Store, err = sqlstore.Open(ctx, path, sqlstore.Options{Log: log}); err != nil {
		return nil, fmt.Errorf("ERRAND_STORE: %w", err)
	}
	return p, nil
}

// openModel chooses the model: ERRAND_MODEL, or agent.yaml's with a key, or the
// stand-in.
func (p *Parts) openModel(ctx context.Context, e Env) (err error) {
	spec := e.Model
	if spec == "" {
		spec = "standin:"
		if e.GeminiKey != "" {
			spec = "gemini:" + p.Agent.Model
		}
	}
	kind, details, _ := strings.Cut(spec, ":")
	switch kind {
	case "standin":
		answer, err := standin.Parse(details)
		if err != nil {
			return fmt.Errorf("ERRAND_MODEL: %w", err)
		}
		p.StandIn = true
		p.Model, err = gemini.New(ctx, gemini.Config{Name: "stand-in", APIKey: "none", HTTPClient: standin.New(answer).Client()})
		return err
	case "gemini":
		name, base, _ := strings.Cut(details, "@")
		if name == "" {
			name = p.Agent.Model
		}
		if e.GeminiKey == "" {
			return errors.New("ERRAND_MODEL=gemini needs GEMINI_API_KEY; set it, or use ERRAND_MODEL=standin: to try without")
		}
		if p.Model, err = gemini.New(ctx, gemini.Config{Name: name, APIKey: e.GeminiKey, BaseURL: base}); err != nil {
			return fmt.Errorf("ERRAND_MODEL, or model in agent.yaml: %w; use gemini:NAME or gemini:NAME@URL", err)
		}
		return nil
	}
	return fmt.Errorf("ERRAND_MODEL: %q is no kind of model; use standin:, gemini:NAME or gemini:NAME@URL", kind)
}

// storePath is the file of a store spec.
func storePath(spec string) (string, error) {
	if spec == "" {
		return "errand.db", nil
	}
	kind, path, _ := strings.Cut(spec, ":")
	if kind != "sqlite" || path == "" {
		return "", fmt.Errorf("ERRAND_STORE: %q is no store; use sqlite:FILE, for example ERRAND_STORE=sqlite:errand.db", kind)
	}
	if strings.HasPrefix(path, ":") { // SQLite's :memory: would lose what was accepted
		return "", fmt.Errorf("ERRAND_STORE: %q is no file; use sqlite:FILE, for example ERRAND_STORE=sqlite:errand.db", path)
	}
	return path, nil
}

func mustBe(name, spec, only string) error {
	if spec == "" || spec == only {
		return nil
	}
	kind, _, _ := strings.Cut(spec, ":")
	return fmt.Errorf("%s: %q is not known; leave it out or use %s=%s", name, kind, name, only)
}

// Local is the queue and the bus of one process.
type Local struct {
	Queue queue.Queue
	Bus   bus.Publisher
	queue *local.Queue
	bus   *local.Bus
}

// Connect makes the queue and the bus that deliver to h, which is never listened
// on. refill is asked to put back what a full queue had to drop.
func Connect(h http.Handler, refill func(ctx context.Context, lane string), log *slog.Logger) *Local {
	l := &Local{
		queue: local.NewQueue(local.QueueConfig{Handler: h, Refill: refill, Log: log}),
		bus:   local.NewBus(local.BusConfig{Handler: h, Subscriptions: []string{"notify"}, Log: log}),
	}
	l.Queue, l.Bus = l.queue, l.bus
	return l
}

// Close ends both; deliveries under way may end by themselves until ctx is done.
func (l *Local) Close(ctx context.Context) error {
	return errors.Join(l.queue.Close(ctx), l.bus.Close(ctx))
}
