package executor

import (
	"fmt"
	"strings"

	"errand/shared/task"
)

// Bounds of the line about what is left out.
const (
	maxNamedCalls = 20  // calls with effects: the newest
	maxNamedFiles = 20  // files: the newest
	maxNamedText  = 200 // bytes of arguments, of a result, and of the name of a file
)

// leftOut is what the model is not shown of the conversation, newest first.
type leftOut struct {
	tasks    int      // that were not read
	crowded  bool     // some of them for want of memory
	messages int      // of tasks that were read, with what came of them
	refused  int      // of these: refused, or ended before the model said anything
	doubted  int      // of these: not completed, and the model refused a request with them, or failed
	files    []string // in these
	called   int      // calls
	steps    int      // steps that were not read
	effects  []effect // calls that have begun, and have effects
}

// An effect is a call of which the model must know.
type effect struct{ name, args, result, key string }

// message adds the message of a turn, with its answer.
func (l *leftOut) message(p past) {
	if p.number > 0 {
		l.messages++
	}
	for _, it := range p.items() {
		for _, part := range it.parts {
			if part != nil && part.Filename != "" {
				l.files = append(l.files, clip(part.Filename))
			}
		}
	}
}

// calls adds the calls of steps.
func (l *leftOut) calls(p past, steps []task.Kept) {
	for n := len(steps) - 1; n >= 0; n-- {
		k := steps[n]
		l.called += len(k.Calls)
		for i, c := range k.Calls {
			if !c.Effects || c.Times == 0 {
				continue
			}
			e := effect{name: c.Name, args: clip(string(c.Args)), result: clip(string(resultIn(k, i)))}
			if p.key != nil {
				e.key = p.key(k.Number, i)
			}
			l.effects = append(l.effects, e)
		}
	}
}

// counts are the numbers of what is left out, for the model and for the trace.
func (l *leftOut) counts() (all []string) {
	count := func(n int, one, many string) {
		if n == 1 {
			all = append(all, "1 "+one)
		} else if n > 1 {
			all = append(all, fmt.Sprintf("%d %s", n, many))
		}
	}

	count(l.tasks, "earlier task", "earlier tasks")
	if l.crowded {
		all[len(all)-1] += " (for want of memory)"
	}
	count(l.messages-l.refused-l.doubted, "earlier message and its answer", "earlier messages and their answers")
	count(l.refused, "message that was refused or not answered", "messages that were refused or not answered")
	count(l.doubted, "message whose answer was not completed", "messages whose answers were not completed")
	if n := len(l.files); n > 0 {
		named := l.files[:min(n, maxNamedFiles)]
		all = append(all, fmt.Sprintf("the files %q", named))
		count(n-len(named), "more file", "more files")
	}
	count(l.called, "call", "calls")
	count(l.steps, "step with calls that were not read", "steps with calls that were not read")
	return all
}

// line tells the model what it is not shown; empty: nothing.
func (l *leftOut) line() string {
	counts := l.counts()
	if len(counts) == 0 {
		return ""
	}

	var b strings.Builder
	fmt.Fprintf(&b, "(Not shown to you of the conversation: %s.", strings.Join(counts, ", "))
	for i, e := range l.effects[:min(len(l.effects), maxNamedCalls)] {
		if i == 0 {
			b.WriteString(" Calls with effects among them, which have begun and are not to be repeated by mistake:")
		}
		fmt.Fprintf(&b, " %s(%s) = %s, key %s;", e.name, e.args, e.result, e.key)
	}
	if n := len(l.effects) - maxNamedCalls; n > 0 {
		fmt.Fprintf(&b, " and %d before these.", n)
	}
	b.WriteString(" Say so if you need any of it.)")
	return b.String()
}

// summary is the same for the trace, without contents; empty: nothing.
func (l *leftOut) summary() string {
	all := l.counts()
	for i, e := range l.effects {
		if i == 0 {
			all = append(all, fmt.Sprintf("%d of the calls with effects", len(l.effects)))
		}
		all = append(all, e.name+" "+e.key)
	}
	return strings.Join(all, ", ")
}

// clip is the beginning of a text.
func clip(s string) string {
	if len(s) <= maxNamedText {
		return s
	}
	return strings.ToValidUTF8(s[:maxNamedText], "") + "..."
}
