// Package cli submits a batch from the command line, shows how far it is, and fetches its
// results. It is a client of /batches and /files, as any other: it reads nothing but their
// answers, and knows the form of a budget.
//
// A batch is known by its name, which is the hash of its manifest if it has no other. So the
// same command again finds the same batch, and whatever broke a command off, the next one goes
// on. Nothing is kept on the user's machine for that.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"errand/shared/batch"
)

// Local is the agent's address if none is given.
const Local = "http://127.0.0.1:8080"

// Exit codes.
const (
	Completed   = 0   // every line has an answer; or what was asked for is done
	SomeFailed  = 1   // the batch is complete, and lines of it have no answer
	Refused     = 2   // the command or the manifest is wrong, and nothing runs
	Ended       = 3   // the batch was canceled, has failed or has expired; what there is was fetched
	Unfinished  = 4   // the agent cannot be reached, or the results cannot be written; the batch goes on
	Paused      = 5   // the batch waits to be resumed, perhaps with a larger budget
	Interrupted = 130 // by the user; the batch goes on
)

// Config says what to do. Of File, Watch, Retry, Pause, Resume and Cancel one is set.
type Config struct {
	URL string // the agent's address; empty: Local

	// Key is an API key, and Token an ID token. Either may be empty. With both, the token is
	// for the proxy in front of the agent. They are sent only to the host of URL.
	Key, Token string

	// File is the manifest: a path, - for In, or an object of a bucket as gs://BUCKET/NAME.
	File string

	// What to do with a batch that is there, by its id: fetch its results when it has ended,
	// run its failed lines again, pause it, resume it, cancel it.
	Watch, Retry, Pause, Resume, Cancel string

	// Of a submission. Empty ones have the agent's defaults.
	Name, Deadline, OnBadLine string

	Budget string // of a submission or of Resume: tokens, or a price such as 5 USD
	NoWait bool   // ends as soon as the batch is submitted

	Results, Errors string // files; empty: Out, and Errs

	In        io.Reader
	Out, Errs io.Writer
	Screen    Screen // of Errs

	After func(time.Duration) <-chan time.Time // nil: time.After
}

// A Screen is what a terminal can show. The zero Screen is no terminal: there is no progress.
type Screen struct {
	Terminal bool
	Blocks   bool // it knows the characters that bars are made of; otherwise ASCII
}

// A job is one run of the command.
type job struct {
	Config
	agent  *client
	budget *batch.Budget
	bar    *bar

	results, errors *output
	faults          string // the last error of the network that was told
	expected        bool   // the estimate was told
}

// Run does what c says, and returns the exit code. All errors are told to c.Errs.
func Run(ctx context.Context, c Config) (code int) {
	j := &job{Config: c}
	if j.URL == "" {
		j.URL = Local
	}
	if j.After == nil {
		j.After = time.After
	}
	j.bar = newBar(c.Errs, c.Screen)
	defer j.bar.clear()

	err := j.check()
	if err == nil {
		j.agent, err = newClient(j.Config, j.trouble)
	}
	if err == nil {
		err = j.openOutputs()
	}
	if err != nil {
		fmt.Fprintln(c.Errs, err)
		return Refused
	}
	defer j.results.discard()
	defer j.errors.discard()

	code, say := j.run(ctx)
	j.tell("%s", say)
	return code
}

// check finds faults of the command.
func (j *job) check() error {
	asked := 0
	for _, what := range []string{j.File, j.Watch, j.Retry, j.Pause, j.Resume, j.Cancel} {
		if what != "" {
			asked++
		}
	}

	var err error
	submits := j.File != ""
	switch {
	case asked == 0:
		return errors.New("name the file of the batch: cardserver batch prompts.jsonl; - is standard input, and batch -h lists the flags")
	case asked > 1:
		return errors.New("give either a file, or the id of a batch with one of -watch, -retry, -pause, -resume and -cancel")
	case !submits && (j.Name != "" || j.Deadline != "" || j.OnBadLine != ""):
		return errors.New("-name, -deadline and -on-bad-line are for a file that is submitted: a batch that is there keeps them")
	case j.Budget != "" && !submits && j.Resume == "":
		return errors.New("-budget is for a file that is submitted, or beside -resume")
	case j.Results != "" && j.Results == j.Errors:
		return errors.New("-o and -errors must name two files")
	case j.Budget != "":
		if j.budget, err = batch.ParseBudget(strings.TrimSpace(j.Budget)); err != nil {
			return fmt.Errorf("-budget %w", err)
		}
	}

	for _, id := range []string{j.Watch, j.Retry, j.Pause, j.Resume, j.Cancel} {
		if strings.ContainsAny(id, "/?#%: ") {
			return errors.New("a batch is named by its id, as the agent's answers do")
		}
	}
	return nil
}

// fetches reports whether the command ends with results.
func (j *job) fetches() bool { return j.Pause == "" && j.Cancel == "" && !j.NoWait }

// openOutputs opens the outputs before anything is sent, so that a wrong name costs nothing.
func (j *job) openOutputs() (err error) {
	if !j.fetches() {
		return nil
	}
	for _, path := range []string{j.Results, j.Errors} {
		if same(path, j.File) {
			return fmt.Errorf("%s is the manifest; write the results to another file", path)
		}
	}
	if j.results, err = openOutput(j.Results, j.Out); err != nil {
		return fmt.Errorf("-o: %w", err)
	}
	if j.errors, err = openOutput(j.Errors, j.Errs); err != nil {
		j.results.discard()
		return fmt.Errorf("-errors: %w", err)
	}
	return nil
}

// same reports whether two paths are one file.
func same(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// run does what the command says. say tells how it ended.
func (j *job) run(ctx context.Context) (code int, say string) {
	v, err := j.begin(ctx)
	switch {
	case err != nil:
		return j.failed(v, err)
	case j.Cancel != "":
		return Completed, fmt.Sprintf("%s is canceled. What it has done: %s", v.ID, j.command("-watch "+v.ID))
	case j.Pause != "":
		return Completed, fmt.Sprintf("%s is %s. Go on with: %s", v.ID, v.State, j.command("-resume "+v.ID))
	case j.NoWait:
		j.expect(v)
		return Completed, fmt.Sprintf("%s is %s. Its results: %s", v.ID, v.State, j.command("-watch "+v.ID))
	case j.Watch == "":
		j.tell("batch %s", v.ID)
	}

	if v, err = j.watch(ctx, v); err != nil {
		return j.failed(v, err)
	}
	if v.State == paused {
		return Paused, fmt.Sprintf("%s is paused. %s\nGo on with: %s", v.ID, plain(v.Message), j.command("-resume "+v.ID+" [-budget MORE]"))
	}
	if err := j.fetchAll(ctx, v); err != nil {
		return j.failed(v, err)
	}

	code, say = v.code(), v.summary()
	if code == SomeFailed || code == Ended {
		say += "\nRun the lines without an answer again with: " + j.command("-retry "+v.ID)
	}
	return code, say
}

// begin finds or makes the batch that the command is about.
func (j *job) begin(ctx context.Context) (view, error) {
	switch {
	case j.File != "":
		return j.submit(ctx)
	case j.Retry != "":
		return j.act(ctx, j.Retry, "retry", nil)
	case j.Pause != "":
		return j.act(ctx, j.Pause, "pause", nil)
	case j.Resume != "":
		return j.act(ctx, j.Resume, "resume", j.budget)
	case j.Cancel != "":
		return view{ID: j.Cancel}, j.cancel(ctx)
	}
	return j.look(ctx, j.Watch)
}

// failed is the exit code and the message for an error. v is the batch, as far as it is known.
func (j *job) failed(v view, err error) (code int, say string) {
	no, refused := errors.AsType[*refusal](err)
	switch {
	case errors.Is(err, errInterrupted) && v.ID == "":
		return Interrupted, "Interrupted. Run the same command again: it finds what was submitted."
	case errors.Is(err, errInterrupted):
		return Interrupted, fmt.Sprintf("Interrupted. The batch goes on.\n  come back: %s\n  pause it:  %s\n  cancel it: %s",
			j.command("-watch "+v.ID), j.command("-pause "+v.ID), j.command("-cancel "+v.ID))
	case refused && no.status == http.StatusNotFound && v.State != "":
		return Ended, fmt.Sprintf("%s is deleted.", v.ID)
	case refused:
		return Refused, err.Error()
	case v.State == "":
		return Unfinished, err.Error() + "\nRun the same command again: it finds what was submitted."
	}
	return Unfinished, fmt.Sprintf("%v\nNothing is lost: come back with %s", err, j.command("-watch "+v.ID))
}

// command is how to call the command again about the same agent.
func (j *job) command(flags string) string {
	text := "cardserver batch "
	if j.Key != "" {
		text += "-key @FILE "
	}
	if j.Token != "" {
		text += "-token @FILE "
	}
	text += flags
	if j.URL != Local {
		text += " " + j.URL
	}
	return text
}

// tell tells the user one thing.
func (j *job) tell(format string, args ...any) {
	j.bar.clear()
	fmt.Fprintf(j.Errs, format+"\n", args...)
}

// trouble tells of an error after which there is another try, but not each time.
func (j *job) trouble(text string, wait time.Duration) {
	if text != j.faults {
		j.faults = text
		j.tell("%s; trying again in %v", text, wait)
	}
}

// act has the agent do something with a batch that is there.
func (j *job) act(ctx context.Context, id, action string, budget *batch.Budget) (v view, err error) {
	body := map[string]any{}
	if budget != nil {
		body["budget"] = budget
	}
	r := request{method: http.MethodPost, url: j.agent.at(nil, "batches", id+":"+action), body: jsonOf(body)}
	return v, j.agent.ask(ctx, r, &v)
}

// cancel cancels the task that a batch is.
func (j *job) cancel(ctx context.Context) error {
	r := request{method: http.MethodPost, url: j.agent.at(nil, "tasks", j.Cancel+":cancel"), body: jsonOf(map[string]any{})}
	return j.agent.ask(ctx, r, &struct{}{})
}

// look asks how far a batch is.
func (j *job) look(ctx context.Context, id string) (v view, err error) {
	return v, j.agent.ask(ctx, request{method: http.MethodGet, url: j.agent.at(nil, "batches", id)}, &v)
}

// options are the parameters of a submission.
func (j *job) options() url.Values {
	q := url.Values{}
	for name, value := range map[string]string{"name": j.Name, "deadline": j.Deadline, "onBadLine": j.OnBadLine, "budget": strings.TrimSpace(j.Budget)} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return q
}
