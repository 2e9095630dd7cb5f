// Package setup turns the environment into the parts of a program: it alone chooses
// adapters. Each port is chosen by a spec string, KIND or KIND:DETAILS.
//
// Each program has an opener and a type of its own, so that it sees no part that it does
// not have. An opener reports every fault of the environment at once, with its remedy,
// before it opens anything that lasts. It returns all parts or none.
//
// The package starts nothing and listens nowhere.
package setup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"errand/shared/adapters/gcp"
	"errand/shared/agent"
	"errand/shared/auth"
	"errand/shared/bus"
	"errand/shared/egress"
	"errand/shared/files"
	"errand/shared/keys"
	"errand/shared/kit"
	"errand/shared/kv"
	"errand/shared/model"
	"errand/shared/objects"
	"errand/shared/queue"
	"errand/shared/serve"
	"errand/shared/task"
	"errand/shared/usage"
)

// A Store has all ports to one database.
type Store interface {
	task.Store
	task.Chores
	task.DeadLetters
	task.Holder
	task.Items
	io.Closer

	KV() kv.Store // in the same database

	// Room returns an error, task.ErrFull, while the database has no room for messages.
	Room(context.Context) error
}

// A Core has the parts of every program.
type Core struct {
	Store Store
	Files *files.Store // opens its place at the first use

	// Objects are objects in buckets, for the callers that the access file lets have them read.
	// Their client is made at the first use.
	Objects objects.Guarded

	closers []io.Closer
}

// Ready reads one record, which there need not be. An error says that the program could do
// nothing for anybody: it has no right to read the store, for example.
func (c *Core) Ready(ctx context.Context) error {
	if _, err := task.Load(ctx, c.Store, "ready"); err != nil && !errors.Is(err, task.ErrNotFound) {
		return fmt.Errorf("ERRAND_STORE: the store cannot be read: %w; it must exist, and this program's account must have the right to read and write it, on Google Cloud roles/datastore.user or roles/alloydb.client", err)
	}
	return nil
}

// Close closes everything that was opened.
func (c *Core) Close() error { return closeAll(c.closers) }

// A ClientSide has the parts that face clients.
type ClientSide struct {
	Core
	Sealing
	Agent    *agent.Agent
	Access   *auth.Access
	Usage    *usage.Meter   // of callers with a limit of tokens a day
	Egress   *egress.Client // checks the URLs of webhooks
	IDTokens bool           // webhooks can carry ID tokens of a service account
	URL      string         // where clients reach the agent; empty: where they sent the request

	// CredentialRing reads the keys of the credentials that tasks are given.
	CredentialRing func(context.Context) (keys.Ring, error)
}

// A TurnSide has the parts that run turns.
type TurnSide struct {
	Model   model.Model
	StandIn bool    // Model is the stand-in, and says so
	Kit     kit.Env // for the agent's own code

	secrets []agent.Secret // of Kit
	log     *slog.Logger
}

// A Sealing has the keys that sign webhooks and seal their secrets.
type Sealing struct {
	Keys *keys.Keyring

	log *slog.Logger
}

// A Standalone has the parts of cardserver when it is the whole agent. [Connect] makes its
// queue and its bus.
type Standalone struct {
	ClientSide
	TurnSide
}

// A Front has the parts of cardserver when queue and bus are managed.
type Front struct {
	ClientSide
	Queue queue.Queue
}

// A Worker has the parts of the worker.
type Worker struct {
	Core
	TurnSide
	Doors
	Agent *agent.Agent
	Usage *usage.Meter // of callers with a limit of tokens a day
	Queue queue.Queue
	Bus   bus.Publisher

	// CredentialRing is that of a ClientSide, and all that the worker has of the keys.
	CredentialRing func(context.Context) (keys.Ring, error)
}

// A CardSide has the parts that the agent card is made of, for those who want it as a file.
type CardSide struct {
	Core
	Sealing
	Agent  *agent.Agent
	Access *auth.Access
	URL    string // where clients reach the agent
}

// A Functions has the parts of the functions.
type Functions struct {
	Core
	Sealing
	Doors
	Access *auth.Access   // which webhooks may carry ID tokens, and whose the submissions of a topic are
	Egress *egress.Client // delivers webhooks
	Usage  *usage.Meter   // of callers with a limit of tokens a day

	// Refused is the topic of submitted messages that cannot become tasks, and Agent says what
	// others may ask for. Both are nil where no topic submits messages.
	Refused bus.Letters
	Agent   *agent.Agent

	Queue queue.Queue
	URL   string // where clients reach the agent, in whose name webhooks are signed

	// IDToken makes ID tokens of the program's service account. Outside Cloud Run there is
	// no account, and it returns an error that says so.
	IDToken func(ctx context.Context, audience string) (string, error)
}

// OpenStandalone opens the parts of cardserver for a local queue. definition is the
// agent.yaml of the program, which ERRAND_AGENT replaces.
func OpenStandalone(ctx context.Context, e Env, definition []byte, log *slog.Logger) (*Standalone, error) {
	o, s := begin(ctx, e, log), &Standalone{}
	o.note(e.together())
	o.clientSide(&s.ClientSide, definition)
	o.turnSide(&s.TurnSide, s.Agent)
	s.CredentialRing = func(ctx context.Context) (keys.Ring, error) { return s.Keys.Ring(ctx) }
	return end(o, s, &s.Core)
}

// OpenFront opens the parts of cardserver for a managed queue. definition is as for
// OpenStandalone.
func OpenFront(ctx context.Context, e Env, definition []byte, log *slog.Logger) (*Front, error) {
	o, f := begin(ctx, e, log), &Front{}
	o.managed("cardserver")
	o.clientSide(&f.ClientSide, definition)
	o.queue(&f.Queue)
	f.CredentialRing = o.credentialRing()
	return end(o, f, &f.Core)
}

// OpenCard opens the parts of the card, beside a program that runs or without one. The store is
// left alone. definition is as for OpenStandalone.
func OpenCard(ctx context.Context, e Env, definition []byte, log *slog.Logger) (*CardSide, error) {
	o, c := begin(ctx, e, log), &CardSide{}
	o.agent(&c.Agent, definition)
	c.Access = o.access()
	o.url(&c.URL)
	o.keys(&c.Sealing)
	return end(o, c, &c.Core)
}

// OpenWorker opens the parts of the worker. definition is as for OpenStandalone.
func OpenWorker(ctx context.Context, e Env, definition []byte, log *slog.Logger) (*Worker, error) {
	o, w := begin(ctx, e, log), &Worker{}
	o.managed("worker")
	o.agent(&w.Agent, definition)
	o.turnSide(&w.TurnSide, w.Agent)
	o.files(&w.Files, nil)
	o.queue(&w.Queue)
	o.bus(&w.Bus)
	o.store(&w.Store)
	access := o.access()
	o.objects(&w.Objects, access)
	o.usage(&w.Usage, &w.Store, access)
	w.CredentialRing = o.credentialRing()
	w.Doors = o.doors(e.WorkerURL)
	return end(o, w, &w.Core)
}

// OpenFunctions opens the parts of the functions. definition is as for OpenStandalone.
func OpenFunctions(ctx context.Context, e Env, definition []byte, log *slog.Logger) (*Functions, error) {
	o, f := begin(ctx, e, log), &Functions{URL: e.URL, IDToken: noIDToken}
	o.managed("functions")
	if e.URL == "" {
		o.note(errors.New("ERRAND_URL: webhooks are signed in the name of the agent: set it to the address clients use"))
	}
	if e.CloudRun() {
		f.IDToken = gcp.IDToken
	}

	f.Access = o.access()
	o.egress(&f.Egress, &f.URL)
	o.files(&f.Files, nil)
	o.objects(&f.Objects, f.Access)
	o.queue(&f.Queue)
	o.store(&f.Store)
	o.usage(&f.Usage, &f.Store, f.Access)
	if e.Refused != "" {
		o.agent(&f.Agent, definition)
		o.refused(&f.Refused)
	}
	o.keys(&f.Sealing)
	f.Doors = o.doors(e.FunctionsURL)
	return end(o, f, &f.Core)
}

func noIDToken(context.Context, string) (string, error) {
	return "", errors.New("an ID token needs a service account, which a program has on Cloud Run only")
}

// Rules are the rules of tasks, with what the definition of the agent says of them. Without a
// definition they are the defaults.
func Rules(a *agent.Agent) task.Rules {
	rules := task.Defaults()
	if a != nil {
		rules.Run = time.Duration(a.Limits.RunMinutes) * time.Minute
	}
	return rules
}

// Log makes the program's logger.
func Log(w io.Writer, e Env) *slog.Logger {
	if e.CloudRun() {
		return serve.NewCloudLog(w, e.Project)
	}
	return serve.NewLog(w)
}
