// Command functions delivers webhooks and repairs: Pub/Sub pushes the events of tasks to it,
// Cloud Tasks the jobs of deliveries and sweeps, and a schedule calls it every minute.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"errand/functions/notify"
	"errand/functions/sweep"
	"errand/shared/bus"
	"errand/shared/desk"
	"errand/shared/queue"
	"errand/shared/serve"
	"errand/shared/setup"
	"errand/shared/task"
	"errand/shared/uploads"
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
	parts, err := setup.OpenFunctions(ctx, env, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, parts.Close()) }()

	d := desk.New(desk.Config{Store: parts.Store, Queue: parts.Queue, Rules: task.Defaults(), Now: time.Now, Log: log})
	hooks := notify.New(notify.Config{
		Desk: d, Store: parts.Store, Client: parts.Egress, Keys: parts.Keys, Issuer: func() string { return parts.URL },
		IDToken: parts.IDToken, IDTokens: parts.Access.IDTokens, Log: log,
	})

	repair := sweep.New(sweep.Config{
		Desk: d, Store: parts.Store, KV: parts.Store.KV(), Queue: parts.Queue, Log: log,
		Files: uploads.New(uploads.Config{Files: parts.Files, KV: parts.Store.KV()}), Batches: parts.Files,
	})

	endpoints, err := parts.Mount(map[string]http.Handler{
		queue.PathDeliver: http.HandlerFunc(hooks.ServeDelivery),
		bus.PathEvents:    http.HandlerFunc(hooks.ServeEvent),
		queue.PathSweep:   repair,
		sweep.PathTick:    http.HandlerFunc(repair.ServeTick),
	})
	if err != nil {
		return err
	}

	l, err := serve.Listen(env.Address())
	if err != nil {
		return err
	}

	fmt.Fprintf(out, "The functions are at http://%s\n", l.Addr())
	go parts.CheckKeys(ctx)
	return serve.Run(ctx, l, endpoints, serve.Options{Log: log, Caller: env.Caller(), Linger: deliverFor})
}
