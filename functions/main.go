// Command functions delivers webhooks, repairs, and takes the messages that pipelines publish:
// Pub/Sub pushes those and the events of tasks to it, Cloud Tasks the jobs of deliveries and
// sweeps, and a schedule calls it every minute.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"errand/functions/notify"
	"errand/functions/submit"
	"errand/functions/sweep"
	"errand/shared/batch"
	"errand/shared/batchdesk"
	"errand/shared/bus"
	"errand/shared/catalogue"
	"errand/shared/desk"
	"errand/shared/keys"
	"errand/shared/limits"
	"errand/shared/queue"
	"errand/shared/serve"
	"errand/shared/setup"
	"errand/shared/task"
	"errand/shared/uploads"
	"errand/worker/agent"
)

func main() { serve.Main(run) }

// deliverFor is how long receivers may take to answer when the program is told to stop.
// A delivery that is cut off is made again.
const deliverFor = 3 * time.Second

func run(ctx context.Context, environ []string, out io.Writer) (err error) {
	env, err := setup.ReadEnv(environ)
	if err != nil {
		return err
	}

	log := setup.Log(out, env)
	parts, err := setup.OpenFunctions(ctx, env, agent.Definition, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, parts.Close()) }()

	s := newServices(parts, env, log)
	endpoints, err := parts.Mount(s.handlers())
	if err != nil {
		return err
	}

	l, err := serve.Listen(env.Address())
	if err != nil {
		return err
	}

	fmt.Fprintf(out, "The functions are at http://%s\n", l.Addr())
	go parts.CheckKeys(ctx)
	return serve.Run(ctx, l, endpoints, serve.Options{Log: log, Caller: env.Caller(), Proxies: env.Hops(), Ready: parts.Ready, Linger: deliverFor})
}

// services are the services of the program.
type services struct {
	notify *notify.Notifier
	sweep  *sweep.Sweep
	submit *submit.Submit // nil: no topic submits messages
}

// newServices makes the services. They share a desk and the files of owners.
func newServices(parts *setup.Functions, env setup.Env, log *slog.Logger) services {
	kv := parts.Store.KV()
	held := uploads.New(uploads.Config{Files: parts.Files, KV: kv})
	of := limits.New(limits.Config{
		Of: parts.Access.Limits, Holder: parts.Store, Tokens: parts.Usage.Wait, Log: log,
		Files: func(ctx context.Context, owner string) (int64, error) {
			h, err := held.Held(ctx, owner)
			return h.Bytes, err
		},
	})

	d := desk.New(desk.Config{
		Store: parts.Store, Queue: parts.Queue, Rules: task.Defaults(), Now: time.Now, Log: log,
		WakeKey: keys.NewWaker(parts.Keys.Ring, log).Key,
		Room: func(ctx context.Context, owner string) error {
			if err := parts.Store.Room(ctx); err != nil {
				return err
			}
			return of.Admit(ctx, owner)
		},
	})

	s := services{
		notify: notify.New(notify.Config{
			Desk: d, Store: parts.Store, Client: parts.Egress, Keys: parts.Keys, Issuer: func() string { return parts.URL },
			IDToken: parts.IDToken, IDTokens: parts.Access.IDTokens, Log: log,
		}),
		sweep: sweep.New(sweep.Config{
			Desk: d, Store: parts.Store, KV: kv, Queue: parts.Queue, Shards: env.QueueShards(), Log: log, Files: held, Batches: parts.Files,
			Catalogue: catalogue.New(catalogue.Config{KV: kv, Client: parts.Egress, CheckURL: parts.Egress.CheckURL, Policy: parts.Access, Now: time.Now, Log: log}),
		}),
	}
	if parts.Refused == nil {
		return s
	}

	c := batchdesk.Config{Desk: d, Store: parts.Store, KV: kv, Files: parts.Files, Uploads: held, Object: batchdesk.ObjectsOf(parts.Objects), Objects: parts.Objects, Log: log}
	if p := parts.Agent.Prices; p != nil {
		c.Currency = p.Currency
	}
	s.submit = submit.New(submit.Config{
		Desk: d, Batches: batchdesk.New(c), Access: parts.Access, Form: batch.NewForm(parts.Agent, parts.Agent.Model, parts.URL), Refused: parts.Refused,
		Reused: env.Reused(), Log: log,
	})
	return s
}

// handlers are the services by the paths at which they are called.
func (s services) handlers() map[string]http.Handler {
	all := map[string]http.Handler{
		queue.PathDeliver: http.HandlerFunc(s.notify.ServeDelivery),
		bus.PathEvents:    http.HandlerFunc(s.notify.ServeEvent),
		queue.PathSweep:   s.sweep,
		sweep.PathTick:    http.HandlerFunc(s.sweep.ServeTick),
	}
	if s.submit != nil {
		all[bus.PathSubmit] = s.submit
	}
	return all
}
