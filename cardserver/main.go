// Command cardserver is the front door: it serves the agent card and accepts
// messages. With the local queue, the default, it is the whole agent in one
// process (standalone.go).
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"time"

	"errand/cardserver/front"
	"errand/cardserver/push"
	"errand/shared/card"
	"errand/shared/desk"
	"errand/shared/loopback"
	"errand/shared/serve"
	"errand/shared/setup"
	"errand/shared/task"
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

func run(ctx context.Context, environ []string, out io.Writer) (err error) {
	env, err := setup.ReadEnv(environ)
	if err != nil {
		return err
	}

	log := setup.Log(out, env)
	parts, err := setup.Open(ctx, env, setup.CardServer, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, parts.Close()) }()

	at := desk.Config{Store: parts.Store, Queue: parts.Queue, Rules: task.Defaults(), Now: time.Now, Log: log, Reused: env.Reused()}
	d, options := desk.New(at), serve.Options{Log: log}
	begin := func(string) {}

	if env.Local() {
		alone, err := newStandalone(parts, env.LocalTurns(), at)
		if err != nil {
			return err
		}
		d, options.Drain = alone.desk, alone.drain
		begin = func(url string) { go parts.CheckModel(ctx); alone.start(ctx, url) }
	}

	schemes, required := parts.Access.Schemes()
	security := card.Security{Schemes: schemes, Required: required}
	cards, err := card.New(card.Config{Agent: parts.Agent, Security: security, URL: parts.URL, Modified: time.Now()})
	if err != nil {
		return err
	}

	l, err := serve.Listen(env.Address())
	if err != nil {
		return err
	}

	local := loopback.Is(l.Addr().String())
	if err := parts.Access.Check(local); err != nil {
		return errors.Join(err, l.Close())
	}

	api := push.New(push.Config{
		Desk: d, Store: parts.Store, Keys: parts.Keys, Access: parts.Access, CheckURL: parts.Egress.CheckURL, Log: log,
	})

	door := front.New(front.Config{
		Desk: d, Store: parts.Store, Agent: parts.Agent, Access: parts.Access, Keys: parts.Keys, Card: cards, Push: api, Log: log,
		CheckURL: parts.Egress.CheckURL, IDTokens: parts.IDToken != nil,
		Model: modelName(parts), URL: parts.URL, Loopback: local,
	})

	announce(out, l, env, parts)
	begin(address(l, parts))
	go parts.CheckKeys(ctx)
	return serve.Run(ctx, l, door, options)
}

// modelName is the name that people see. A front door without a worker knows only the
// definition's.
func modelName(p *setup.Parts) string {
	if p.Model == nil {
		return p.Agent.Model
	}
	return p.Model.Name()
}

// announce prints the model and, last, the address, for the person who started the program.
func announce(out io.Writer, l net.Listener, env setup.Env, parts *setup.Parts) {
	local := loopback.Is(l.Addr().String())
	switch {
	case parts.StandIn:
		fmt.Fprintln(out, "No model is configured: a stand-in answers, and says so. Set GEMINI_API_KEY to have Gemini answer.")
	case parts.Model != nil:
		fmt.Fprintf(out, "The model %s answers.\n", parts.Model.Name())
	}
	if env.Reused() {
		fmt.Fprintln(out, "ERRAND_DEDUPE=off: a message that is sent twice is done twice, whoever sends it.")
	}
	if !local && parts.Access.Anonymous() {
		fmt.Fprintln(out, "Whoever reaches this address may use the agent and read every task: ERRAND_ACCESS=anonymous says so.")
	}
	if parts.URL == "" && !local {
		fmt.Fprintln(out, "Its card names whatever address it is asked at: set ERRAND_URL to the one clients use.")
	}
	url := address(l, parts)
	fmt.Fprintf(out, "%s is at %s (card: %s%s)\n", parts.Agent.Name, url, url, card.Path)
}

// address is the agent's address, as far as the program knows it.
func address(l net.Listener, parts *setup.Parts) string {
	if parts.URL != "" {
		return parts.URL
	}
	return "http://" + l.Addr().String()
}
