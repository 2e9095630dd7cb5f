// Package waterfall prints the trace of a task in a terminal, and follows the task while it
// runs. It is a client of GET /tasks/{id}/trace: it reads nothing but its answers.
//
// To a terminal it prints the whole picture again whenever it has asked. To anything else it
// prints plain ASCII, once: when the task has ended or waits for its client, or at once if it
// does not follow.
package waterfall

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"errand/cardserver/trace"
)

// Config says which task to show, and how.
type Config struct {
	URL  string // the agent's address. Required
	Task string // the task's id. Required

	// Key is an API key, and Token an ID token. Either may be empty. With both, the token is
	// for the proxy in front of the agent. They are sent only to the host of URL.
	Key, Token string

	Follow  bool // asks again until the task has ended or waits for its client
	Details bool // prints the beginning of arguments and results too

	Out    io.Writer                              // Required
	Screen func() Screen                          // of Out at present; nil: it is no terminal
	After  func(d time.Duration) <-chan time.Time // nil: time.After
}

// A Screen is what a terminal can show. The zero Screen is no terminal.
type Screen struct {
	Width, Height int
	Blocks        bool // it knows the characters that bars are made of; otherwise ASCII
	Redraws       bool // it understands the sequences that clear it
}

// Times between two requests, and tries.
const (
	askFirst  = time.Second
	askLast   = 10 * time.Second // while nothing changes
	afterMost = time.Minute      // that the agent may ask for
	tries     = 6                // requests in a row that fail
)

const clear = "\x1b[H\x1b[2J"

// Run prints the trace. The error says why it cannot be read, or that ctx has ended first.
func Run(ctx context.Context, c Config) error {
	api, err := newClient(c)
	if err != nil {
		return err
	}
	if c.Screen == nil {
		c.Screen = func() Screen { return Screen{} }
	}
	if c.After == nil {
		c.After = time.After
	}

	s, every, failures := &story{steps: map[int]trace.Step{}}, askFirst, 0
	for {
		changed, err := s.read(ctx, api, !c.Follow)
		var busy *busy

		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("not finished, and the task goes on: %w", context.Cause(ctx))
		case err == nil && (s.Done || !c.Follow):
			return c.print(s, true)
		case err == nil:
			failures = 0
			if every = min(2*every, askLast); changed {
				every = askFirst
			}
			if err := c.print(s, false); err != nil {
				return err
			}
		case errors.As(err, &busy) && s.Task != "" && failures < tries:
			failures++
			every = min(max(busy.after, time.Duration(failures)*askFirst), afterMost)
		default:
			return err
		}

		select {
		case <-c.After(every):
		case <-ctx.Done():
		}
	}
}

// print prints the picture. One that is not the last is for terminals alone, and has no more
// lines than they have.
func (c Config) print(s *story, last bool) error {
	screen := c.Screen()
	if !last && !screen.Redraws {
		return nil
	}
	lines := draw(s, screen, c.Details)
	begin := ""
	if screen.Redraws && c.Follow {
		begin = clear
		if most := screen.Height - 1; !last && most > 0 && len(lines) > most {
			lines = lines[len(lines)-most:]
		}
	}
	_, err := io.WriteString(c.Out, begin+strings.Join(lines, "\n")+"\n")
	return err
}

// A story is all that is known of a task: the newest page, and the steps and results of all.
type story struct {
	trace.Trace
	steps   map[int]trace.Step // by number
	results []trace.Result
}

// read asks for what is new. Results are read when the task is done, or with all, because
// their pages come after those of the steps. changed says that there is something new.
func (s *story) read(ctx context.Context, api *client, all bool) (changed bool, err error) {
	settled := 0
	for {
		if known, ok := s.steps[settled+1]; !ok || known.Open {
			break
		}
		settled++
	}

	after := ""
	if settled > 0 {
		after = fmt.Sprint(settled)
	}

	var results []trace.Result
	for {
		t, err := api.page(ctx, after)
		if err != nil {
			return changed, err
		}

		changed = changed || t.State != s.State || len(t.Runs) != len(s.Runs) || len(t.Steps) > 1
		for _, n := range t.Steps {
			old, ok := s.steps[n.Number]
			changed = changed || !ok || done(old) != done(n)
			s.steps[n.Number] = n
		}
		_, whole := s.steps[t.StepCount]
		whole = whole || t.StepCount == 0

		s.Trace, results = t, append(results, t.Results...)
		if t.Next == "" || t.Next == after || whole && !t.Done && !all {
			s.results = results
			return changed, nil
		}
		after = t.Next
	}
}

// done is the number of calls of a step that have a result.
func done(s trace.Step) (n int) {
	for _, c := range s.Calls {
		if c.Result != nil {
			n++
		}
	}
	return n
}
