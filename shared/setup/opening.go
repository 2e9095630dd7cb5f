package setup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"errand/shared/adapters/gcp"
	"errand/shared/agent"
	"errand/shared/auth"
	"errand/shared/bus"
	"errand/shared/egress"
	"errand/shared/queue"
	"errand/shared/secret"
	"errand/shared/usage"
)

// An opening makes the parts of one program. Its methods check the variables of a part and
// note each fault. They make the part, or leave it to a later step if it asks a service or
// writes a file. Later steps run only if there is no fault.
type opening struct {
	ctx     context.Context
	env     Env
	log     *slog.Logger
	faults  []error
	steps   []func() error
	closers []io.Closer
	source  func() (secret.Source, error) // opens the place of secrets once
}

func begin(ctx context.Context, e Env, log *slog.Logger) *opening {
	o := &opening{ctx: ctx, env: e, log: log}
	o.source = sync.OnceValues(o.openSecrets)
	return o
}

// note keeps a fault, if it is one.
func (o *opening) note(err error) {
	if err != nil {
		o.faults = append(o.faults, err)
	}
}

// later adds a step that runs after all checks.
func (o *opening) later(step func() error) { o.steps = append(o.steps, step) }

// closes has c closed with the program's parts.
func (o *opening) closes(c io.Closer) { o.closers = append(o.closers, c) }

// end runs the later steps, unless there are faults, and returns the parts, which are closed
// through core. After an error everything is closed already.
func end[T any](o *opening, parts *T, core *Core) (*T, error) {
	err := errors.Join(o.faults...)
	for _, step := range o.steps {
		if err == nil {
			err = step()
		}
	}
	if err != nil {
		return nil, errors.Join(err, closeAll(o.closers))
	}
	core.closers = o.closers
	return parts, nil
}

// closeAll closes the last first, because it may use those before it.
func closeAll(closers []io.Closer) error {
	var bad []error
	for _, c := range slices.Backward(closers) {
		bad = append(bad, c.Close())
	}
	return errors.Join(bad...)
}

// managed checks an environment in which queue and bus stand between three programs.
func (o *opening) managed(program string) {
	o.note(o.env.together())
	if o.env.Local() {
		o.note(fmt.Errorf("the %s has nothing to do with a local queue, with which cardserver does everything: set ERRAND_QUEUE and ERRAND_BUS to managed ones, cloudtasks:PREFIX and pubsub:TOPIC", program))
	}
	if !isLocal(o.env.Bus) {
		_, _, err := topicOf(o.env.Bus)
		o.note(err)
	}
}

// clientSide makes the parts that face clients.
func (o *opening) clientSide(c *ClientSide, definition []byte) {
	c.IDTokens = o.env.CloudRun()
	o.agent(&c.Agent, definition)

	c.Access = o.access()
	o.url(&c.URL)
	o.egress(&c.Egress, &c.URL)
	o.files(&c.Files, c.fileKeys)
	o.objects(&c.Objects, c.Access)
	o.store(&c.Store)
	o.usage(&c.Usage, &c.Store, c.Access)
	o.keys(&c.Sealing)
}

// access reads the access file.
func (o *opening) access() *auth.Access {
	a, err := auth.Load(o.env.Access, auth.Options{Log: o.log, Proxies: o.env.Hops(), Checked: o.env.Checked(), Balanced: o.env.Balanced(), TLS: o.env.TLS != ""})
	o.note(err)
	return a
}

// usage makes the meter of the callers to whom the access file gives a limit of tokens.
func (o *opening) usage(to **usage.Meter, store *Store, access *auth.Access) {
	limit := func(owner string) (int64, bool) {
		tokens := access.Limits(owner).TokensPerDay
		return tokens, tokens != auth.None
	}
	o.later(func() error {
		*to = usage.New(usage.Config{KV: (*store).KV(), Limit: limit, Log: o.log})
		o.closes(*to)
		return nil
	})
}

func (o *opening) agent(to **agent.Agent, definition []byte) {
	a, err := agent.Load(o.env.Agent, definition)
	if err != nil {
		o.note(fmt.Errorf("ERRAND_AGENT: %w; mend the file, or leave ERRAND_AGENT out for the embedded one", err))
	}
	*to = a
}

// url finds the address of the agent. On Cloud Run the platform knows it.
func (o *opening) url(to *string) {
	*to = o.env.URL
	if o.env.URL != "" || !o.env.CloudRun() {
		return
	}
	o.later(func() (err error) {
		if *to, err = gcp.ServiceURL(o.ctx, o.env.Service); err != nil {
			return fmt.Errorf("ERRAND_URL is not set, and %w; set it to the address clients use", err)
		}
		return nil
	})
}

// egress makes the way out to webhooks. url is the agent's own address, where no webhook
// may lead: it would be a message from inside.
func (o *opening) egress(to **egress.Client, url *string) {
	allow, err := egress.ParseAllow(o.env.PushAllow)
	if err != nil {
		o.note(fmt.Errorf("ERRAND_PUSH_ALLOW: %w", err))
	}
	o.later(func() (err error) {
		*to, err = egress.New(egress.Config{Allow: allow, Own: o.own(*url)})
		return ownFault(err)
	})
}

// own are the URLs of this installation.
func (o *opening) own(url string) []string {
	own := []string{url, o.env.loopback(), o.env.WorkerURL, o.env.FunctionsURL}
	return slices.DeleteFunc(own, func(url string) bool { return url == "" })
}

func ownFault(err error) error {
	if err != nil {
		return fmt.Errorf("ERRAND_URL, ERRAND_WORKER_URL or ERRAND_FUNCTIONS_URL: %w", err)
	}
	return nil
}

// queue makes the client of a managed queue, which calls nothing yet.
func (o *opening) queue(to *queue.Queue) {
	if isLocal(o.env.Queue) {
		return // which is noted already
	}
	prefix, endpoint, err := managed("ERRAND_QUEUE", o.env.Queue, "cloudtasks", "cloudtasks:projects/PROJECT/locations/LOCATION/queues/PREFIX")
	if err != nil {
		o.note(err)
		return
	}

	q, err := gcp.NewQueue(o.ctx, gcp.QueueConfig{
		Prefix: prefix, Shards: o.env.QueueShards(), Endpoint: endpoint, Worker: o.env.WorkerURL, Functions: o.env.FunctionsURL, Invoker: o.env.Invoker,
	})
	if err != nil {
		o.note(fmt.Errorf("ERRAND_QUEUE, ERRAND_WORKER_URL, ERRAND_FUNCTIONS_URL, ERRAND_INVOKER: %w", err))
		return
	}

	*to = q
	o.closes(q)
}

// bus makes the client of a managed topic, which calls nothing yet.
func (o *opening) bus(to *bus.Publisher) {
	topic, endpoint, err := topicOf(o.env.Bus)
	if err != nil {
		return // which is noted already
	}
	b, err := gcp.NewPublisher(o.ctx, gcp.PublisherConfig{Topic: topic, Endpoint: endpoint})
	if err != nil {
		o.note(fmt.Errorf("ERRAND_BUS: %w", err))
		return
	}
	*to = b
	o.closes(b)
}

// refused makes the client of the topic of refused messages, which calls nothing yet.
func (o *opening) refused(to *bus.Letters) {
	topic, isTopic := strings.CutPrefix(o.env.Refused, "pubsub:")
	if !isTopic {
		o.note(errors.New("ERRAND_REFUSED must be pubsub:projects/PROJECT/topics/TOPIC, or be left out if no topic submits messages"))
		return
	}
	topic, endpoint, _ := strings.Cut(topic, "@")
	b, err := gcp.NewPublisher(o.ctx, gcp.PublisherConfig{Topic: topic, Endpoint: endpoint})
	if err != nil {
		o.note(fmt.Errorf("ERRAND_REFUSED: %w", err))
		return
	}
	*to = b
	o.closes(b)
}

// openSecrets opens the place of secrets.
func (o *opening) openSecrets() (secret.Source, error) {
	s, err := secretsOf(o.ctx, o.env)
	if err != nil {
		o.note(err)
		return nil, err
	}
	if c, ok := s.(io.Closer); ok {
		o.closes(c)
	}
	return s, nil
}

// read is how a secret is read, and whether an opener may read it. A service is not asked
// at the start, because its answer would delay each start from nothing.
func (o *opening) read(name string) (get func(context.Context) (secret.Value, error), now bool) {
	source, err := o.source()
	if err != nil {
		return nil, false
	}
	_, far := source.(io.Closer)
	return func(ctx context.Context) (secret.Value, error) { return source.Get(ctx, secret.Ref{Name: name}) }, !far
}
