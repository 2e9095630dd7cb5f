package smoke

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
)

// A report prints the checks, a line each, and counts them.
type report struct {
	out     io.Writer
	now     func() time.Time
	secrets []string
	explain func(error) *fault

	done, failed int
	advice       string // the last advice, which is not repeated
}

// A fault is a problem and its remedies, a line each.
type fault struct {
	what string
	mend []string
}

func (f *fault) Error() string { return f.what }

func wrong(mend []string, format string, args ...any) *fault {
	return &fault{fmt.Sprintf(format, args...), mend}
}

// A remark is worth a line, but is no failure.
type remark string

func (r remark) Error() string { return string(r) }

// An omission is the reason why a check was not done. An empty one gets no line.
type omission string

func (o omission) Error() string { return string(o) }

// check does one check and prints the result. It returns the fault, or nil.
func (r *report) check(ctx context.Context, name, about string, limit time.Duration, f func(context.Context) (string, error)) *fault {
	if ctx.Err() != nil {
		return nil
	}

	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	began := r.now()
	say, err := f(within)
	took := r.now().Sub(began)
	if ctx.Err() != nil {
		return nil // the caller gave up, so there is no result
	}

	note, noted := errors.AsType[remark](err)
	left, omitted := errors.AsType[omission](err)

	switch {
	case err == nil:
		r.line("ok", name, took, about, say)
	case noted:
		r.line("note", name, took, about, string(note))
	case omitted && left == "":
		return nil
	case omitted:
		r.skip(name, join(about, string(left)))
		return nil
	default:
		why := r.explain(err)
		r.done++
		r.failed++
		r.line("FAIL", name, took, about, why.what)
		r.advise(why.mend)
		return why
	}

	r.done++
	return nil
}

// skip prints that a check was not done, and why.
func (r *report) skip(name, why string) {
	r.print(fmt.Sprintf("%-4s %-9s %9s  %s", "skip", name, "", why))
}

func (r *report) line(mark, name string, took time.Duration, about, say string) {
	r.print(fmt.Sprintf("%-4s %-9s %6d ms  %s", mark, name, took.Milliseconds(), join(about, say)))
}

func (r *report) advise(mend []string) {
	text := strings.Join(mend, "\n")
	if text != "" && text == r.advice {
		mend = []string{"as above"}
	}
	for _, m := range mend {
		r.print("       -> " + m)
	}
	r.advice = text
}

// print writes a line, without control characters from the agent that could reach the
// terminal, and without credentials, which an agent may repeat.
func (r *report) print(line string) {
	for _, s := range r.secrets {
		if s != "" {
			line = strings.ReplaceAll(line, s, "[hidden]")
		}
	}
	fmt.Fprintln(r.out, plain(line))
}

// verdict ends the report.
func (r *report) verdict() error {
	if r.failed > 0 {
		return fmt.Errorf("%d of %d checks failed", r.failed, r.done)
	}
	r.print(fmt.Sprintf("All %d checks passed.", r.done))
	return nil
}

func join(about, say string) string {
	if about == "" {
		return say
	}
	return about + ": " + say
}

// plain is printable text on one line.
func plain(s string) string {
	return strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return ' '
		}
		return c
	}, s)
}

// quote is the beginning of a text of the agent.
func quote(s string) string {
	const most = 300
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "..."
	}
	return s
}
