package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"errand/cardserver/trace/waterfall"
)

// traceCommand prints what a task did.
func traceCommand(ctx context.Context, i invocation) int {
	c, errs := waterfall.Config{Out: i.out, Screen: screenOf(i.out, i.environ)}, i.errs
	flags := flag.NewFlagSet("trace", flag.ContinueOnError)
	flags.SetOutput(errs)
	credentials(flags, &c.Key, &c.Token)
	flags.BoolVar(&c.Follow, "f", true, "follow the task until it has ended or waits for its client")
	flags.BoolVar(&c.Details, "v", false, "print the beginning of arguments and results too")

	flags.Usage = func() {
		fmt.Fprintln(errs, "cardserver trace [flags] URL TASK: shows the runs, steps and calls of a task, their times, tokens and price.")
		flags.PrintDefaults()
	}

	switch err := flags.Parse(i.args); {
	case errors.Is(err, flag.ErrHelp):
		return succeeded
	case err != nil:
		return misused
	case flags.NArg() != 2:
		fmt.Fprintln(errs, "trace needs a URL and the id of a task, after the flags: cardserver trace -key @FILE https://agent.example.com TASK")
		return misused
	}

	c.URL, c.Task = flags.Arg(0), flags.Arg(1)
	return runClient(ctx, flags, errs, func(ctx context.Context) error { return waterfall.Run(ctx, c) })
}

// screenOf says what the output can show. COLUMNS, LINES, TERM and the locale are those of
// every program in a terminal.
func screenOf(out io.Writer, environ []string) func() waterfall.Screen {
	env := map[string]string{}
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		env[name] = value
	}
	number := func(name string) int {
		n, _ := strconv.Atoi(env[name])
		return max(n, 0)
	}
	locale := strings.ToLower(cmp.Or(env["LC_ALL"], env["LC_CTYPE"], env["LANG"]))

	return func() waterfall.Screen {
		file, ok := out.(*os.File)
		if !ok {
			return waterfall.Screen{Width: number("COLUMNS")}
		}
		width, height, ok := waterfall.Size(file)
		if !ok {
			return waterfall.Screen{Width: number("COLUMNS")}
		}
		clever := env["TERM"] != "dumb"
		return waterfall.Screen{
			Width: cmp.Or(width, number("COLUMNS")), Height: cmp.Or(height, number("LINES")),
			Blocks: clever && (strings.Contains(locale, "utf-8") || strings.Contains(locale, "utf8")), Redraws: clever,
		}
	}
}
