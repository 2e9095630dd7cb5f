// Command functions delivers webhooks and repairs: Pub/Sub tells it what happened to
// tasks, Cloud Tasks brings the jobs of deliveries and sweeps, and a schedule says that
// another minute has passed.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"errand/functions/notify"
	"errand/functions/sweep"
	"errand/shared/bus"
	"errand/shared/desk"
	"errand/shared/queue"
	"errand/shared/serve"
	"errand/shared/setup"
	"errand/shared/task"
)

func main() {
	if err := run(context.Background(), os.Environ(), os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// deliverFor is how long receivers may take to answer when the program is told to stop.
// A delivery that is cut off is made again.
const deliverFor = 3 * time.Second

func run(ctx context.Context, environ []string, out io.Writer) (err error) {
	env, err := setup.ReadEnv(environ)
	if err != nil {
		return err
	}

	log := setup.Log(out, env)
	parts, err := setup.Open(ctx, env, setup.Functions, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, parts.Close()) }()
	d := desk.New(desk.Config{Store: parts.Store, Queue: parts.Queue, Rules: task.Defaults(), Now: time.Now, Log: log})

	hooks := notify.New(notify.Config{
		Desk: d, Store: parts.Store, Client: parts.Egress, Keys: parts.Keys, Issuer: func() string { return parts.URL }, IDToken: parts.IDToken, Log: log,
	})

	repair := sweep.New(sweep.Config{Desk: d, Store: parts.Store, Queue: parts.Queue, Log: log})
	mux, doors := http.NewServeMux(), parts.Doors(env, env.FunctionsURL)

	for path, h := range map[string]http.Handler{
		queue.PathDeliver: http.HandlerFunc(hooks.ServeDelivery),
		bus.PathEvents:    http.HandlerFunc(hooks.ServeEvent),
		queue.PathSweep:   repair,
		sweep.PathTick:    http.HandlerFunc(repair.ServeTick),
	} {
		door, err := doors(path)
		if err != nil {
			return err
		}
		mux.Handle("POST "+path, door(h))
	}

	l, err := serve.Listen(env.Address())
	if err != nil {
		return err
	}

	fmt.Fprintf(out, "The functions are at http://%s\n", l.Addr())
	go parts.CheckKeys(ctx)
	return serve.Run(ctx, l, mux, serve.Options{Log: log, Linger: deliverFor})
}
