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
	"slices"

	"errand/shared/adapters/gcp"
	"errand/shared/agent"
	"errand/shared/auth"
	"errand/shared/bus"
	"errand/shared/egress"
	"errand/shared/files"
	"errand/shared/keys"
	"errand/shared/kv"
	"errand/shared/model"
	"errand/shared/queue"
	"errand/shared/secret"
	"errand/shared/serve"
	"errand/shared/task"
)

// A Program is one of the three. All of them read the same variables, and each takes of
// them what it needs.
type Program string

// The programs.
const (
	CardServer Program = "cardserver" // the front door; with the local queue the whole agent
	Worker     Program = "worker"     // runs turns
	Functions  Program = "functions"  // delivers webhooks and repairs
)

// A Store is what the programs ask of a store.
type Store interface {
	task.Store
	task.Chores
	task.Letters
	io.Closer

	KV() kv.Store // in the same database
}

// Parts are everything a program is made of. What it does not need is nil.
type Parts struct {
	Store  Store
	Agent  *agent.Agent   // of cardserver and worker
	Access *auth.Access   // of cardserver
	Model  model.Model    // of the worker
	Egress *egress.Client // of cardserver, which checks webhooks, and of functions
	Keys   *keys.Keyring  // of cardserver, which seals the secrets of webhooks, and of functions
	Files  *files.Store   // opens its place at the first use

	// IDToken makes ID tokens of the program's service account; nil: it has none.
	IDToken func(ctx context.Context, audience string) (string, error)

	// Of programs that Cloud Tasks and Pub/Sub stand between; with the local ones,
	// Connect makes them.
	Queue queue.Queue
	Bus   bus.Publisher

	URL     string // where clients reach the agent; empty: where they sent the request
	StandIn bool   // Model is the stand-in, and says so

	log     *slog.Logger
	closers []io.Closer
}

// Log makes the program's logger.
func Log(w io.Writer, e Env) *slog.Logger {
	if e.CloudRun() {
		return serve.NewCloudLog(w, e.Project)
	}
	return serve.NewLog(w)
}

// Open makes the parts of a program. What cannot work is reported before anything is
// opened, all at once and with the remedy.
func Open(ctx context.Context, e Env, program Program, log *slog.Logger) (p *Parts, err error) {
	p = &Parts{URL: e.URL, log: log}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
			p = nil
		}
	}()

	var bad []error
	try := func(err error) {
		if err != nil {
			bad = append(bad, err)
		}
	}

	try(e.together(program))
	alone := e.Local()
	if program != Functions {
		try(p.openAgent(e))
	}
	if p.Agent != nil && (program == Worker || alone) {
		try(p.openModel(ctx, e))
	}

	if program == CardServer {
		p.Access, err = auth.Load(e.Access, auth.Options{Log: log, Proxies: e.proxies()})
		try(err)
	}

	if program != Worker {
		try(p.openEgress(e))
		try(p.openKeys(ctx, e))
		if e.CloudRun() {
			p.IDToken = gcp.IDToken
		}
	}

	try(p.openFiles(e))
	if !isLocal(e.Queue) {
		try(p.openQueue(ctx, e))
	}
	if !isLocal(e.Bus) {
		try(p.openBus(ctx, e))
	}

	store, err := storeOf(e.Store)
	try(err)
	if len(bad) > 0 {
		return p, errors.Join(bad...)
	}

	if program == CardServer && e.CloudRun() && p.URL == "" {
		if p.URL, err = gcp.ServiceURL(ctx, e.Service); err != nil {
			return p, fmt.Errorf("ERRAND_URL is not set, and %w; set it to the address clients use", err)
		}

		e.URL = p.URL
		if err := p.openEgress(e); err != nil { // now that it knows itself
			return p, err
		}
	}

	if p.Store, err = store(ctx, log); err != nil {
		return p, fmt.Errorf("ERRAND_STORE: %w", err)
	}

	p.closers = append(p.closers, p.Store)
	if program == CardServer {
		err = p.ownKeys(ctx, e)
	}

	return p, err
}

// Close closes what Open has opened.
func (p *Parts) Close() error {
	var bad []error
	for _, c := range p.closers {
		bad = append(bad, c.Close())
	}
	p.closers = nil
	return errors.Join(bad...)
}

func (p *Parts) openAgent(e Env) (err error) {
	if p.Agent, err = agent.Load(e.Agent); err != nil {
		return fmt.Errorf("ERRAND_AGENT: %w; mend the file, or leave ERRAND_AGENT out for the embedded one", err)
	}
	return nil
}

func (p *Parts) openEgress(e Env) error {
	allow, err := egress.ParseAllow(e.PushAllow)
	if err != nil {
		return fmt.Errorf("ERRAND_PUSH_ALLOW: %w", err)
	}
	// A webhook that led back to us would be a message from inside.
	own := slices.DeleteFunc([]string{e.URL, e.loopback(), e.WorkerURL, e.FunctionsURL}, func(url string) bool { return url == "" })
	if p.Egress, err = egress.New(egress.Config{Allow: allow, Own: own}); err != nil {
		return fmt.Errorf("ERRAND_URL, ERRAND_WORKER_URL or ERRAND_FUNCTIONS_URL: %w", err)
	}
	return nil
}

func (p *Parts) openQueue(ctx context.Context, e Env) error {
	prefix, endpoint, err := managed("ERRAND_QUEUE", e.Queue, "cloudtasks", "cloudtasks:projects/PROJECT/locations/LOCATION/queues/PREFIX")
	if err != nil {
		return err
	}
	q, err := gcp.NewQueue(ctx, gcp.QueueConfig{
		Prefix: prefix, Endpoint: endpoint, Worker: e.WorkerURL, Functions: e.FunctionsURL, Invoker: e.Invoker,
	})
	if err != nil {
		return fmt.Errorf("ERRAND_QUEUE, ERRAND_WORKER_URL, ERRAND_FUNCTIONS_URL, ERRAND_INVOKER: %w", err)
	}
	p.Queue = q
	p.closers = append(p.closers, q)
	return nil
}

func (p *Parts) openBus(ctx context.Context, e Env) error {
	topic, endpoint, err := managed("ERRAND_BUS", e.Bus, "pubsub", "pubsub:projects/PROJECT/topics/TOPIC")
	if err != nil {
		return err
	}
	b, err := gcp.NewPublisher(ctx, gcp.PublisherConfig{Topic: topic, Endpoint: endpoint})
	if err != nil {
		return fmt.Errorf("ERRAND_BUS: %w", err)
	}
	p.Bus = b
	p.closers = append(p.closers, b)
	return nil
}

// Doors makes the doors of the endpoints below base that a queue, a bus or a scheduler
// calls: each lets in tokens of the invoker that were made for that very endpoint.
func (p *Parts) Doors(e Env, base string) func(path string) (auth.Door, error) {
	issuer, url := auth.GoogleIssuer, auth.GoogleKeys
	if e.Issuer != "" && e.Issuer != issuer {
		issuer, url = e.Issuer, "" // it says itself where its keys are
	}
	keys := auth.NewKeys(auth.KeysConfig{Issuer: issuer, URL: url})
	return func(path string) (auth.Door, error) {
		return auth.NewDoor(auth.DoorConfig{Issuer: issuer, Audience: base + path, Emails: []string{e.Invoker}, Keys: keys, Log: p.log})
	}
}

// secrets is where secrets are.
func (p *Parts) secrets(ctx context.Context, e Env) (secret.Source, error) {
	s, err := secretsOf(ctx, e)
	if c, ok := s.(io.Closer); ok && err == nil {
		p.closers = append(p.closers, c)
	}
	return s, err
}
