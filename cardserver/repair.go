package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"

	"errand/shared/setup"
)

// repairCommand shows the stored tasks that cannot be read, mends those that can be mended,
// and sets the others aside. It is for SQLite: a document of Firestore is mended where it is.
func repairCommand(ctx context.Context, i invocation) int {
	flags := flag.NewFlagSet("repair", flag.ContinueOnError)
	flags.SetOutput(i.errs)
	mend := flags.Bool("mend", false, "mend the tasks that can be mended, and set the others aside")
	back := flags.String("back", "", "`ID` of a task set aside, to be brought back to its place as it was")
	drop := flags.String("drop", "", "`ID` of a task set aside, to be deleted for good")
	flags.Usage = func() {
		fmt.Fprintln(i.errs, "cardserver repair [flags]: shows the tasks of the SQLite file that cannot be read. Stop the program first.")
		flags.PrintDefaults()
	}

	switch err := flags.Parse(i.args); {
	case errors.Is(err, flag.ErrHelp):
		return succeeded
	case err != nil:
		return misused
	case flags.NArg() > 0:
		fmt.Fprintln(i.errs, "repair takes no arguments behind its flags; ERRAND_STORE names the file")
		return misused
	case flags.NFlag() > 1:
		fmt.Fprintln(i.errs, "repair does one thing at a time: give one of -mend, -back and -drop")
		return misused
	}

	env, err := setup.ReadEnv(i.environ)
	if err == nil {
		err = repair(ctx, env, i, *mend, *back, *drop)
	}
	if err != nil {
		fmt.Fprintln(i.errs, err)
		return failed
	}
	return succeeded
}

func repair(ctx context.Context, env setup.Env, i invocation, mend bool, back, drop string) (err error) {
	bench, err := setup.OpenBench(ctx, env, setup.Log(i.errs, env))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bench.Close()) }()

	aside, err := bench.Aside()
	if err != nil {
		return err
	}

	if id := back + drop; id != "" {
		at := slices.IndexFunc(aside, func(f setup.Finding) bool { return f.ID == id })
		switch {
		case at < 0:
			return fmt.Errorf("no task %s is set aside", id)
		case back != "":
			err = bench.Back(aside[at])
		default:
			err = bench.Drop(aside[at])
		}
		if err == nil {
			fmt.Fprintln(i.out, "done:", id)
		}
		return err
	}

	found, err := bench.Unreadable()
	if err != nil {
		return err
	}

	for _, f := range found {
		if mend {
			if err := bench.Mend(f); err != nil {
				return fmt.Errorf("task %s: %w", f.ID, err)
			}
		}
		fmt.Fprintf(i.out, "%s: %s: %s\n", f.ID, f.Why, fate(f, mend))
	}

	for _, f := range aside {
		fmt.Fprintf(i.out, "%s: %s: it is set aside; -back %s brings it back\n", f.ID, f.Why, f.ID)
	}
	summary(i.out, len(found), mend)
	return nil
}

// fate says what happens to a task, or has happened.
func fate(f setup.Finding, mended bool) string {
	switch {
	case mended && f.Mendable:
		return "mended"
	case mended:
		return "set aside; -back " + f.ID + " brings it back"
	case f.Mendable:
		return "-mend mends it, and nothing is lost"
	}
	return "-mend sets it aside: no client sees it then, and -back " + f.ID + " brings it back"
}

func summary(out io.Writer, n int, mended bool) {
	switch {
	case n == 0:
		fmt.Fprintln(out, "Every other stored task can be read.")
	case mended:
		fmt.Fprintf(out, "Tasks repaired: %d.\n", n)
	default:
		fmt.Fprintf(out, "Tasks that cannot be read: %d. cardserver repair -mend repairs them.\n", n)
	}
}
