package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"errand/infra/smoke"
	"errand/shared/auth"
	"errand/shared/keys"
	"errand/shared/secret"
)

// An invocation is one call of the program.
type invocation struct {
	args, environ []string
	in            io.Reader
	out, errs     io.Writer
}

// A command is the first argument of the program. It returns the exit code.
type command struct {
	name, args, does string
	run              func(context.Context, invocation) int
}

func commands() []command {
	return []command{
		{"serve", "", `serve; the environment says how (docs/environment.md). The command may be left out`, serveCommand},
		{"smoke", "[flags] URL", "try a running agent, here or anywhere (smoke -h lists the flags)", smokeCommand},
		{"trace", "[flags] URL TASK", "show what a task did and what it cost, and follow it (trace -h lists the flags)", traceCommand},
		{"batch", "[flags] FILE [URL]", "answer each line of a file, here or anywhere (batch -h lists the flags)", batchCommand},
		{"card", "[flags]", "print the agent card, or look for the faults of one (card -h lists the flags)", cardCommand},
		{"key", "[flags] [NAME]", "make an API key for the access file (key -h lists the flags)", keyCommand},
		{"keys", "[flags]", "make or renew the keys that webhooks are signed with (keys -h lists the flags)", keysCommand},
		{"repair", "[flags]", "show or repair stored tasks that cannot be read (repair -h lists the flags)", repairCommand},
		{"help", "", "print this", helpCommand},
	}
}

// usage lists the commands.
func usage() string {
	text := "cardserver is the front door of Errand, and the whole agent while its queue is local.\n\n"
	for _, c := range commands() {
		text += fmt.Sprintf("\tcardserver %-22s  %s\n", strings.TrimSpace(c.name+" "+c.args), c.does)
	}
	return text
}

// Exit codes tell misuse apart from failure, as usual.
const (
	succeeded = 0
	failed    = 1
	misused   = 2
)

// execute runs the command that the arguments name, and returns the exit code.
func execute(ctx context.Context, i invocation) int {
	name := "serve"
	if len(i.args) > 0 {
		name, i.args = i.args[0], i.args[1:]
	}
	if name == "-h" || name == "-help" || name == "--help" {
		name = "help"
	}
	for _, c := range commands() {
		if c.name == name {
			return c.run(ctx, i)
		}
	}
	fmt.Fprintf(i.errs, "there is no command %q\n\n%s", name, usage())
	return misused
}

func helpCommand(_ context.Context, i invocation) int {
	fmt.Fprint(i.out, usage())
	return succeeded
}

func serveCommand(ctx context.Context, i invocation) int {
	if len(i.args) > 0 {
		fmt.Fprintf(i.errs, "serve takes no arguments; the environment says how to serve\n\n%s", usage())
		return misused
	}
	collectLess()
	if err := run(ctx, i.environ, i.errs); err != nil {
		fmt.Fprintln(i.errs, err)
		return failed
	}
	return succeeded
}

func smokeCommand(ctx context.Context, i invocation) int {
	c, errs := smoke.Config{Out: i.out}, i.errs
	flags := flag.NewFlagSet("smoke", flag.ContinueOnError)
	flags.SetOutput(errs)
	credentials(flags, &c.Key, &c.Token)
	flags.StringVar(&c.Card, "card", "", "`URL` that the card leads to, if it is another one: to try a new version that gets no requests yet")
	flags.StringVar(&c.CardKeys, "card-keys", "", "`file` with the key set (JWKS) by which the card must be signed")
	flags.StringVar(&c.Message, "message", "", "`text` to send instead of a question with a short answer")
	flags.DurationVar(&c.Timeout, "timeout", 0, "how long a task may take to end (default 1m)")
	flags.StringVar(&c.Webhook, "webhook", "", "`URL` at which the agent reaches -listen: webhooks are then really delivered")
	flags.StringVar(&c.Listen, "listen", smoke.DefaultListen, "`address` of this machine to receive webhooks at")

	flags.Usage = func() {
		fmt.Fprintln(errs, "cardserver smoke [flags] URL: tries the agent at URL and says what is wrong and how to mend it.")
		flags.PrintDefaults()
	}

	switch err := flags.Parse(i.args); {
	case errors.Is(err, flag.ErrHelp):
		return succeeded
	case err != nil:
		return misused
	case flags.NArg() != 1:
		fmt.Fprintln(errs, "smoke needs one URL, after the flags: cardserver smoke -key @FILE https://agent.example.com")
		return misused
	}

	c.URL = flags.Arg(0)
	return runClient(ctx, flags, errs, func(ctx context.Context) error { return smoke.Run(ctx, c) })
}

// credentials adds the flags of a client's credentials.
func credentials(flags *flag.FlagSet, key, token *string) {
	flags.StringVar(key, "key", "", "API `key`; @FILE reads it from a file, so that it stands in no list of processes")
	flags.StringVar(token, "token", "", "ID `token`, or @FILE; beside -key it is for the IAM check of Cloud Run")
}

// runClient reads the credentials of a client and runs it until it ends or is interrupted.
func runClient(ctx context.Context, flags *flag.FlagSet, errs io.Writer, client func(context.Context) error) int {
	if err := readSecrets(flags); err != nil {
		fmt.Fprintln(errs, err)
		return misused
	}

	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()

	if err := client(ctx); err != nil {
		fmt.Fprintln(errs, err)
		return failed
	}

	return succeeded
}

// readSecrets reads the flags key and token, if they are given.
func readSecrets(flags *flag.FlagSet) (err error) {
	flags.Visit(func(f *flag.Flag) {
		if f.Name == "key" || f.Name == "token" {
			err = errors.Join(err, readSecret(f))
		}
	})
	return err
}

// readSecret replaces @FILE by the content of the file. Its errors repeat no part of a
// value.
func readSecret(f *flag.Flag) error {
	value := f.Value.String()
	if path, ok := strings.CutPrefix(value, "@"); ok {
		data, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("-%s: %w", f.Name, err)
		}
		value = strings.TrimSpace(string(data))
	}
	if value == "" {
		return fmt.Errorf("-%s is empty; leave it out to send nothing", f.Name)
	}
	if strings.ContainsFunc(value, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return fmt.Errorf("-%s must be one word, such as the command that made it printed", f.Name)
	}
	return f.Value.Set(value)
}

// keyCommand prints only the key to out, so that it can go into a file unseen, and the
// entry for the access file to errs.
func keyCommand(_ context.Context, i invocation) int {
	name, errs := "NAME", i.errs
	flags := flag.NewFlagSet("key", flag.ContinueOnError)
	flags.SetOutput(errs)
	expires := flags.String("expires", "", "`DATE`, such as 2027-01-31, on which the key is good for the last time, or a time such as 2027-01-31T18:00:00Z")
	may := flags.String("may", "", fmt.Sprintf("`RIGHTS` of the key, with commas between them, of %v; without it the key has all", auth.Rights()))
	flags.Usage = func() {
		fmt.Fprintln(errs, "cardserver key [flags] [NAME]: prints an API key, and beside it the entry for the access file.")
		flags.PrintDefaults()
	}

	if err := flags.Parse(i.args); errors.Is(err, flag.ErrHelp) {
		return succeeded
	} else if err != nil {
		return misused
	}

	if flags.NArg() == 1 && auth.IsName(flags.Arg(0)) {
		name = flags.Arg(0)
	} else if flags.NArg() > 0 {
		fmt.Fprintln(errs, "key takes the name of a principal, such as acme/ci, behind its flags: letters, digits and . _ @ + -, at most 64 of them each")
		return misused
	}

	key, hash := auth.NewKey()
	entry, err := auth.KeyEntry(hash, *expires, *may)
	if err != nil {
		fmt.Fprintln(errs, err)
		return misused
	}
	if _, err := fmt.Fprintln(i.out, key); err != nil {
		fmt.Fprintln(errs, "the key could not be written, and is lost:", err)
		return failed
	}
	fmt.Fprintf(errs, `
This is the key: it is shown once and kept nowhere. Its hash goes into the access file
(ERRAND_ACCESS), under principals; a principal that is there already gets one line more.

  - name: %q
    keys:
      - %s
`, name, entry)
	return succeeded
}

// keysCommand prints only the ring to out, so that it can be stored unseen, and the advice
// about it to errs.
func keysCommand(_ context.Context, i invocation) int {
	errs := i.errs
	flags := flag.NewFlagSet("keys", flag.ContinueOnError)
	flags.SetOutput(errs)
	from := flags.String("from", "", "`FILE` with the keys there are, or - for standard input; a fresh one is put above them")
	wait := flags.Duration("in", time.Hour, "with -from: how long until the fresh key is used, so that everybody knows it by then")
	flags.Usage = func() {
		fmt.Fprintln(errs, "cardserver keys [flags]: prints the secret "+keys.Secret+", with one fresh key.")
		flags.PrintDefaults()
	}

	given := map[string]bool{}
	err := flags.Parse(i.args)
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })

	switch {
	case errors.Is(err, flag.ErrHelp):
		return succeeded
	case err != nil:
		return misused
	case flags.NArg() > 0:
		fmt.Fprintln(errs, "keys takes no arguments behind its flags: cardserver keys -from FILE")
		return misused
	case given["in"] && !given["from"]:
		fmt.Fprintln(errs, "-in is for a key beside others: the first one is used at once. Say with -from where those are")
		return misused
	case *wait < 0:
		fmt.Fprintln(errs, "-in must not be negative: nobody would have known the key at its time")
		return misused
	}

	old, at := "", time.Now()
	if given["from"] {
		if old, err = readKeys(*from, i.in); err != nil {
			fmt.Fprintln(errs, "-from:", err)
			return failed
		}
		at = at.Add(*wait)
	}

	text, err := keys.Generate(old, at)
	if err != nil {
		fmt.Fprintln(errs, err)
		return failed
	}

	if _, err := fmt.Fprint(i.out, text); err != nil {
		fmt.Fprintln(errs, "the keys could not be written, and the fresh one is lost:", err)
		return failed
	}

	fmt.Fprintf(errs, `
These are the keys: whoever has them can sign as this agent and read what it sealed.
Store all of it as the secret %s where ERRAND_SECRETS says; with env: that is the
variable ERRAND_KEYS. Where a variable can have one line only, put commas between
the keys and leave the comment out. The fresh key is used from %s.
`, keys.Secret, at.UTC().Format(time.RFC3339))

	if given["from"] {
		fmt.Fprintf(errs, `Keep the older lines for 30 days at least: they sign beside the fresh one for %d days,
and open what they sealed for as long as it is kept.
`, int(keys.Overlap.Hours()/24))
	}

	return succeeded
}

// readKeys reads a ring. An empty file is a mistake: a new ring in its place would lose the
// old keys.
func readKeys(path string, in io.Reader) (string, error) {
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return "", err
		}
		defer file.Close()
		in = file
	}
	data, err := io.ReadAll(io.LimitReader(in, secret.MaxSize+1))
	switch {
	case err != nil:
		return "", err
	case len(data) > secret.MaxSize:
		return "", secret.ErrTooLarge
	}
	if _, err := keys.Parse(string(data)); err != nil {
		return "", err
	}
	return string(data), nil
}
