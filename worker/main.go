// Command worker runs turns: Cloud Tasks calls it with the id of a task. The worker claims
// the task's record, runs the executor, and commits and publishes its events.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"errand/shared/batch"
	"errand/shared/credential"
	"errand/shared/desk"
	"errand/shared/keys"
	"errand/shared/queue"
	"errand/shared/serve"
	"errand/shared/setup"
	"errand/shared/uploads"
	"errand/worker/agent"
	"errand/worker/batches"
	"errand/worker/executor"
	"errand/worker/turn"
)

func main() { serve.Main(run) }

// parkFor is how long turns may take to park when the program must stop.
const parkFor = 6 * time.Second

func run(ctx context.Context, environ []string, out io.Writer) (err error) {
	env, err := setup.ReadEnv(environ)
	if err != nil {
		return err
	}

	log := setup.Log(out, env)
	parts, err := setup.OpenWorker(ctx, env, agent.Definition, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, parts.Close()) }()

	own := executor.Own{Tools: agent.Tools, Executor: agent.Executor}
	exec, err := executor.Assemble(executor.Config{Agent: parts.Agent, Model: parts.Model, Usage: parts.Usage, Log: log}, parts.Kit, own)
	if err != nil {
		return err
	}

	d := desk.New(desk.Config{Store: parts.Store, Queue: parts.Queue, Rules: setup.Rules(parts.Agent), Now: time.Now, Log: log})
	stored := uploads.New(uploads.Config{Files: parts.Files, KV: parts.Store.KV()})
	reads := turn.Conversation{Tokens: parts.Agent.Conversation.Tokens, Tasks: parts.Agent.Conversation.Tasks}
	turns := turn.Config{
		Desk: d, Store: parts.Store, KV: parts.Store.KV(), Files: stored, Objects: parts.Objects, Bus: parts.Bus, Executor: exec, Log: log, Conversation: &reads, WakeURL: wakeURL(env.URL, log),
		Credentials: credential.New(credential.Config{KV: parts.Store.KV(), Ring: parts.CredentialRing, Base: func() string { return env.URL }, Now: time.Now}),
	}
	worker := turn.New(turns) // of items of batches too: they share the process (R12)

	whole := batches.New(batches.Config{
		Desk: d, Store: parts.Store, KV: parts.Store.KV(), Files: parts.Files,
		Manifests: batches.Sources{Uploads: stored, Objects: parts.Objects},
		Uploads:   stored, Objects: parts.Objects, Form: batch.NewForm(parts.Agent, parts.Model.Name(), env.URL), Model: parts.Model.Name(),
		Wait: parts.Usage.Wait, Room: parts.Store.Room, Items: exec, URL: func(path string) string { return env.URL + path }, Log: log,
	})
	turns.Executor = whole
	ofBatches := whole.Handler(turn.New(turns))

	endpoints, err := parts.Mount(map[string]http.Handler{queue.PathTurn: worker, queue.PathBulk: worker, queue.PathBatch: ofBatches})
	if err != nil {
		return err
	}

	l, err := serve.Listen(env.Address())
	if err != nil {
		return err
	}

	fmt.Fprintf(out, "The worker is at http://%s; the model %s answers.\n", l.Addr(), parts.Model.Name())
	go parts.CheckModel(ctx)
	go parts.CheckSecrets(ctx)
	return serve.Run(ctx, l, endpoints, serve.Options{
		Log: log, Caller: env.Caller(), Proxies: env.Hops(), Ready: parts.Ready, Linger: parkFor, Drain: func(context.Context) { worker.Drain(); ofBatches.Drain() },
	})
}

// wakeURL makes the addresses by which calls are woken. Without the address of the front door
// there are none.
func wakeURL(base string, log *slog.Logger) func(wakeKey, call string) string {
	if base != "" {
		return func(wakeKey, call string) string { return keys.WakeURL(base, wakeKey, call) }
	}
	var once sync.Once
	return func(string, string) string {
		once.Do(func() {
			log.Warn("tools get no URL to be woken by: set ERRAND_URL to the address that clients use")
		})
		return ""
	}
}
