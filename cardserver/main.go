// Command cardserver is the front door: it serves the agent card and accepts
// messages. With the local queue, the default, it is the whole agent in one
// process (standalone.go).
package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"runtime/debug"

	"errand/shared/serve"
	"errand/shared/setup"
	"errand/worker/agent"
)

func main() {
	os.Exit(execute(context.Background(), invocation{
		args: os.Args[1:], environ: os.Environ(), in: os.Stdin, out: os.Stdout, errs: os.Stderr,
	}))
}

// collectLess lets garbage grow to one and a half times the live heap, not once: the live
// heap is a few MiB, and collecting it took a tenth of the processor. GOGC wins.
func collectLess() {
	const usual = 100
	if was := debug.SetGCPercent(3 * usual / 2); was != usual {
		debug.SetGCPercent(was)
	}
}

func run(ctx context.Context, environ []string, out io.Writer) error {
	env, err := setup.ReadEnv(environ)
	if err != nil {
		return err
	}
	log := setup.Log(out, env)
	if env.Local() {
		return runStandalone(ctx, env, log, out)
	}
	return runFront(ctx, env, log, out)
}

// runFront serves clients. The worker and the functions are programs of their own.
func runFront(ctx context.Context, env setup.Env, log *slog.Logger, out io.Writer) (err error) {
	parts, err := setup.OpenFront(ctx, env, agent.Definition, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, parts.Close()) }()

	s, err := listen(&parts.ClientSide, env, log)
	if err != nil {
		return err
	}
	defer s.listener.Close()
	clients, err := s.handler(s.desk(parts.Queue), parts.Agent.Model)
	if err != nil {
		return err
	}

	s.announce(out)
	go parts.CheckKeys(ctx)
	return serve.Run(ctx, s.listener, clients, serve.Options{Log: log, Certificates: s.certs, Caller: env.Caller(), Proxies: env.Hops(), Ready: parts.Ready})
}
