package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"time"

	"errand/infra/smoke"
	"errand/shared/auth"
	"errand/shared/keys"
	"errand/shared/secret"
)

const usage = `cardserver is the front door of Errand, and the whole agent while its queue is local.

	cardserver                    serve; the environment says how (docs/environment.md)
	cardserver smoke [flags] URL  try a running agent, here or anywhere (smoke -h lists the flags)
	cardserver key [NAME]         make an API key for the access file
	cardserver keys [flags]       make or renew the keys that webhooks are signed with (keys -h lists the flags)
	cardserver help               print this
`

// Exit codes: misuse is told apart from failure, as usual.
const (
	succeeded = 0
	failed    = 1
	misused   = 2
)

// command does what the arguments say and returns the exit code.
func command(ctx context.Context, args, environ []string, out, errs io.Writer) int {
	name := "serve"
	if len(args) > 0 {
		name, args = args[0], args[1:]
	}
	switch name {
	case "serve":
		return serveCommand(ctx, args, environ, errs)
	case "smoke":
		return smokeCommand(ctx, args, out, errs)
	case "key":
		return keyCommand(args, out, errs)
	case "keys":
		return keysCommand(args, os.Stdin, out, errs)
	case "help", "-h", "-help", "--help":
		fmt.Fprint(out, usage)
		return succeeded
	}
	fmt.Fprintf(errs, "there is no command %q\n\n%s", name, usage)
	return misused
}

func serveCommand(ctx context.Context, args, environ []string, errs io.Writer) int {
	if len(args) > 0 {
		fmt.Fprintf(errs, "serve takes no arguments; the environment says how to serve\n\n%s", usage)
		return misused
	}
	collectLess()
	if err := run(ctx, environ, errs); err != nil {
		fmt.Fprintln(errs, err)
		return failed
	}
	return succeeded
}

func smokeCommand(ctx context.Context, args []string, out, errs io.Writer) int {
	c := smoke.Config{Out: out}
	flags := flag.NewFlagSet("smoke", flag.ContinueOnError)
	flags.SetOutput(errs)
	flags.StringVar(&c.Key, "key", "", "API `key`; @FILE reads it from a file, so that it stands in no list of processes")
	flags.StringVar(&c.Token, "token", "", "ID `token`, or @FILE; beside -key it is for the IAM check of Cloud Run")
	flags.StringVar(&c.Message, "message", "", "`text` to send instead of a question with a short answer")
	flags.DurationVar(&c.Timeout, "timeout", 0, "how long a task may take to end (default 1m)")
	flags.StringVar(&c.Webhook, "webhook", "", "`URL` at which the agent reaches -listen: webhooks are then really delivered")
	flags.StringVar(&c.Listen, "listen", smoke.DefaultListen, "`address` of this machine to receive webhooks at")

	flags.Usage = func() {
		fmt.Fprintln(errs, "cardserver smoke [flags] URL: tries the agent at URL and says what is wrong and how to mend it.")
		flags.PrintDefaults()
	}

	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return succeeded
	case err != nil:
		return misused
	case flags.NArg() != 1:
		fmt.Fprintln(errs, "smoke needs one URL, after the flags: cardserver smoke -key @FILE https://agent.example.com")
		return misused
	}

	c.URL = flags.Arg(0)
	var bad error
	flags.Visit(func(f *flag.Flag) {
		if f.Name == "key" || f.Name == "token" {
			bad = errors.Join(bad, readSecret(f))
		}
	})

	if bad != nil {
		fmt.Fprintln(errs, bad)
		return misused
	}

	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()

	if err := smoke.Run(ctx, c); err != nil {
		fmt.Fprintln(errs, err)
		return failed
	}

	return succeeded
}

// readSecret replaces @FILE by what is in the file. It repeats nothing of a value.
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

// principal is the form of a name in the access file, which is what checks it.
var principal = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}(/[A-Za-z0-9][A-Za-z0-9._@+-]{0,63})?$`)

// keyCommand prints the key alone to out, so that it can be kept in a file without having
// been seen, and what belongs in the access file to errs.
func keyCommand(args []string, out, errs io.Writer) int {
	name := "NAME"
	if len(args) == 1 && principal.MatchString(args[0]) {
		name = args[0]
	} else if len(args) > 0 {
		fmt.Fprintln(errs, "key takes the name of a principal, such as acme/ci: letters, digits and . _ @ + -, at most 64 of them each")
		return misused
	}
	key, hash := auth.NewKey()
	if _, err := fmt.Fprintln(out, key); err != nil {
		fmt.Fprintln(errs, "the key could not be written, and is lost:", err)
		return failed
	}
	fmt.Fprintf(errs, `
This is the key: it is shown once and kept nowhere. Its hash goes into the access file
(ERRAND_ACCESS), under principals; a principal that is there already gets one line more.

  - name: %q
    keys:
      - %s
`, name, hash)
	return succeeded
}

// keysCommand prints a ring alone to out, so that it can be stored without having been
// seen, and what to do with it to errs.
func keysCommand(args []string, in io.Reader, out, errs io.Writer) int {
	flags := flag.NewFlagSet("keys", flag.ContinueOnError)
	flags.SetOutput(errs)
	from := flags.String("from", "", "`FILE` with the keys there are, or - for standard input; a fresh one is put above them")
	wait := flags.Duration("in", time.Hour, "with -from: how long until the fresh key is used, so that everybody knows it by then")
	flags.Usage = func() {
		fmt.Fprintln(errs, "cardserver keys [flags]: prints the secret "+keys.Secret+", with one fresh key.")
		flags.PrintDefaults()
	}

	given := map[string]bool{}
	err := flags.Parse(args)
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
		if old, err = readKeys(*from, in); err != nil {
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

	if _, err := fmt.Fprint(out, text); err != nil {
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

// readKeys reads what must hold a ring; what holds nothing is a mistake, of which a
// new ring would make a loss.
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
