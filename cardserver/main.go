// Command cardserver is the front door: it serves the agent card and accepts
// messages. With the local queue, the default, it is the whole agent in one
// process (standalone.go).
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"errand/cardserver/front"
	"errand/shared/card"
	"errand/shared/intake"
	"errand/shared/model"
	"errand/shared/serve"
	"errand/shared/setup"
	"errand/shared/task"
)

func main() {
	collectLess()
	if err := run(context.Background(), os.Environ(), os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// collectLess lets garbage grow to one and a half times what is live, not once: the live heap
// is a few MiB, and a tenth of the processor went into collecting it. GOGC wins.
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
	log := serve.NewLog(out)
	parts, err := setup.Open(ctx, env, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, parts.Store.Close()) }()
	rules := task.Defaults()
	alone, err := newStandalone(parts, rules, log)
	if err != nil {
		return err
	}
	in := &intake.Intake{Store: parts.Store, Queue: alone.local.Queue, Rules: rules, Now: time.Now, Log: log, Reused: env.Reused()}
	cards, err := card.NewHandler(parts.Agent, env.URL, time.Now())
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", env.Address())
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w; set PORT or ERRAND_LISTEN to a free address", err)
	}
	if err != nil {
		return fmt.Errorf("%w; set ERRAND_LISTEN to an address of this machine, for example 127.0.0.1:8080", err)
	}
	surface := front.Surface{
		Operations: front.New(front.Config{Intake: in, Agent: parts.Agent, CheckURL: parts.Egress.CheckURL, Log: log}),
		Card:       cards, Agent: parts.Agent, Model: parts.Model.Name(), URL: env.URL, Loopback: loopback(l), Log: log,
	}
	announce(out, l, env, parts)
	go checkModel(ctx, parts, log)
	alone.start(ctx)
	return serve.Run(ctx, l, surface.Handler(), serve.Options{Log: log, Drain: alone.drain})
}

func loopback(l net.Listener) bool {
	a, ok := l.Addr().(*net.TCPAddr)
	return ok && a.IP.IsLoopback()
}

// announce tells whoever started the program who answers, and last, where.
func announce(out io.Writer, l net.Listener, env setup.Env, parts *setup.Parts) {
	if parts.StandIn {
		fmt.Fprintln(out, "No model is configured: a stand-in answers, and says so. Set GEMINI_API_KEY to have Gemini answer.")
	} else {
		fmt.Fprintf(out, "The model %s answers.\n", parts.Model.Name())
	}
	if env.Reused() {
		fmt.Fprintln(out, "ERRAND_DEDUPE=off: a message that is sent twice is done twice, whoever sends it.")
	}
	if !loopback(l) {
		fmt.Fprintln(out, "Whoever reaches this address may use the agent: put it behind something that asks who they are.")
	}
	url := env.URL
	if url == "" {
		url = "http://" + l.Addr().String()
		if !loopback(l) {
			fmt.Fprintln(out, "Its card names whatever address it is asked at: set ERRAND_URL to the one clients use.")
		}
	}
	fmt.Fprintf(out, "%s is at %s (card: %s%s)\n", parts.Agent.Name, url, url, card.Path)
}

// checkModel asks once whether the model can be used, so that a wrong key is seen
// before the first message. The agent starts all the same: what it accepts waits.
func checkModel(ctx context.Context, parts *setup.Parts, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	err := parts.Model.Check(ctx)
	var denied *model.Error
	switch {
	case err == nil:
	case errors.As(err, &denied) && (denied.Denied() || denied.Invalid()):
		log.ErrorContext(ctx, "the model refuses this configuration; check GEMINI_API_KEY and the model's name (ERRAND_MODEL or agent.yaml)",
			"model", parts.Model.Name(), "status", denied.Code, "reason", denied.Status, "alert", true)
	default:
		log.ErrorContext(ctx, "the model could not be reached; messages wait until it can", "model", parts.Model.Name(), "err", err)
	}
}
