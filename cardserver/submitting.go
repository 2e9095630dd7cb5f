package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"errand/cardserver/batches/cli"
)

// batchHelp is what the command says of itself, above its flags.
const batchHelp = `cardserver batch [flags] FILE [URL]: answers each line of FILE by the agent at URL, which is %s
if there is none. FILE has JSON Lines, in Errand's form or in OpenAI's; - is standard input, and gs://BUCKET/NAME
an object that the agent reads. The answers come in the order of the lines. The same command again goes on with
the same batch, and Ctrl-C leaves it running.

cardserver batch -watch ID [URL], and so -retry, -pause, -resume and -cancel: about a batch that is there.

It ends with 0 if every line has an answer, 1 if some have none, 2 if the command or the file is refused, 3 if the
batch was canceled, failed or expired, 4 if the agent cannot be reached or the results cannot be written, 5 if the
batch is paused, and 130 after Ctrl-C.

`

// batchCommand submits a batch, and fetches its results.
func batchCommand(ctx context.Context, i invocation) int {
	screen := screenOf(i.errs, i.environ)()
	c := cli.Config{In: i.in, Out: i.out, Errs: i.errs, Screen: cli.Screen{Terminal: screen.Redraws, Blocks: screen.Blocks}}
	flags := flag.NewFlagSet("batch", flag.ContinueOnError)
	flags.SetOutput(i.errs)
	credentials(flags, &c.Key, &c.Token)

	flags.StringVar(&c.Results, "o", "", "`file` of the answers instead of standard output; it appears when it is whole")
	flags.StringVar(&c.Errors, "errors", "", "`file` of the lines without an answer instead of standard error; it appears when it is whole")
	flags.StringVar(&c.Name, "name", "", "`name` of the batch; the same name is the same batch, and without one the content of FILE is (letters, digits and signs, at most 128)")
	flags.StringVar(&c.Deadline, "deadline", "", "`when` the batch ends at the latest: 6h, or 2027-01-31T06:00:00Z (default 24h, at most 7 days)")
	flags.StringVar(&c.OnBadLine, "on-bad-line", "", "`refuse` the file if it has lines that cannot run (the default), or skip these lines")
	flags.StringVar(&c.Budget, "budget", "", "what the batch may cost, in `tokens` or as a price such as \"5 USD\"; it is paused when that is used up")
	flags.BoolVar(&c.NoWait, "no-wait", false, "end as soon as the batch is submitted")

	flags.StringVar(&c.Watch, "watch", "", "`id` of a batch to wait for")
	flags.StringVar(&c.Retry, "retry", "", "`id` of a batch whose failed lines run again, in a batch whose answers are those of all lines")
	flags.StringVar(&c.Pause, "pause", "", "`id` of a batch that is to begin no further lines")
	flags.StringVar(&c.Resume, "resume", "", "`id` of a paused batch that is to go on, with -budget if that was used up")
	flags.StringVar(&c.Cancel, "cancel", "", "`id` of a batch to end")

	flags.Usage = func() {
		fmt.Fprintf(i.errs, batchHelp, cli.Local)
		flags.PrintDefaults()
	}
	switch err := flags.Parse(i.args); {
	case errors.Is(err, flag.ErrHelp):
		return succeeded
	case err != nil:
		return misused
	}

	if err := errors.Join(places(flags.Args(), &c), readSecrets(flags)); err != nil {
		fmt.Fprintln(i.errs, err)
		return misused
	}

	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends it at once

	return cli.Run(ctx, c)
}

// places tells the file and the address of the agent apart, in any order.
func places(args []string, c *cli.Config) error {
	for _, arg := range args {
		to, what := &c.File, "file"
		if strings.HasPrefix(arg, "http://") || strings.HasPrefix(arg, "https://") {
			to, what = &c.URL, "address"
		}

		switch {
		case strings.HasPrefix(arg, "-") && arg != "-":
			return fmt.Errorf("%s stands behind the file: flags come first", arg)
		case *to != "":
			return fmt.Errorf("batch takes one file and one address, and %s is a second %s", arg, what)
		}
		*to = arg
	}
	return nil
}
