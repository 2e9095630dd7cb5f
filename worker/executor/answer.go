package executor

import (
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/task"
)

// maxAnswer is the room that a record has for the answer when its messages use up their own
// share (R14).
const maxAnswer = task.LimitResult - task.LimitAccept

// An answer is the artifact of a turn. The newest piece is held back, so that the last
// piece can be marked. The bytes of an incomplete rune are held back too.
type answer struct {
	turn   *turn
	id     a2a.ArtifactID
	sent   []*a2a.Part // this attempt's pieces, as sent
	held   *a2a.Part
	broken string // the beginning of a rune
	size   int
	begun  bool // an update was sent, so the next one appends
	gap    bool // a text of an earlier step comes before the next text
	mark   int  // pieces sent before this step
	before int  // size before this step
}

// text adds a piece of text, which may end within a rune.
func (a *answer) text(s string) error {
	s = a.broken + s
	cut := incomplete(s)
	s, a.broken = strings.ToValidUTF8(s[:cut], "\uFFFD"), s[cut:]
	return a.add(s)
}

func (a *answer) add(s string) error {
	if s == "" {
		return nil
	}
	if a.gap {
		s, a.gap = "\n\n"+s, false
	}
	if room := maxAnswer - a.size; len(s) > room {
		for room > 0 && !utf8.RuneStart(s[room]) {
			room--
		}
		if room > 0 {
			if err := a.part(a2a.NewTextPart(s[:room]), room); err != nil {
				return err
			}
		}
		return errTooLong
	}
	return a.part(a2a.NewTextPart(s), len(s))
}

// part adds a piece of any kind.
func (a *answer) part(p *a2a.Part, size int) error {
	if a.size+size > maxAnswer {
		return errTooLong
	}
	a.size += size
	err := a.flush()
	a.held = p
	return err
}

// flush sends the piece that is held back, before work that takes time.
func (a *answer) flush() error { return a.release(false) }

func (a *answer) release(last bool) error {
	if a.held == nil {
		return nil
	}
	p := a.held
	a.held = nil
	a.sent = append(a.sent, p)
	return a.send(a2a.ContentParts{p}, a.begun, last)
}

// next begins another step of the same turn.
func (a *answer) next() {
	a.broken = ""
	a.mark, a.before, a.gap = len(a.sent), a.size, len(a.sent) > 0
}

// undo takes back the pieces of this step.
func (a *answer) undo() error {
	sent := len(a.sent) > a.mark
	a.held, a.broken, a.size = nil, "", a.before
	a.sent = a.sent[:a.mark]
	a.gap = a.mark > 0
	if !sent {
		return nil
	}
	if a.mark == 0 {
		a.begun = false // the next piece replaces the sent ones
		return nil
	}
	return a.send(joined(a.sent), false, false)
}

// finish marks the end. If the last piece has been sent already, it sends everything again.
func (a *answer) finish() error {
	if a.broken != "" {
		a.broken = ""
		if err := a.add("\uFFFD"); err != nil && !errors.Is(err, errTooLong) {
			return err
		}
	}
	if a.held != nil {
		return a.release(true)
	}
	if len(a.sent) > 0 {
		return a.send(joined(a.sent), false, true)
	}
	return nil
}

func (a *answer) send(parts a2a.ContentParts, more, last bool) error {
	a.begun = true
	art := &a2a.Artifact{ID: a.id, Parts: parts}
	if !more {
		art.Name = "answer"
	}
	ev := &a2a.TaskArtifactUpdateEvent{
		TaskID: a.turn.info.TaskID, ContextID: a.turn.info.ContextID,
		Artifact: art, Append: more, LastChunk: last,
	}
	if !a.turn.yield(ev, nil) {
		return errGone
	}
	return nil
}

// joined returns the pieces as they are in the artifact: neighbouring texts in one part.
func joined(pieces []*a2a.Part) a2a.ContentParts {
	var out a2a.ContentParts
	var b strings.Builder
	flush := func() {
		if b.Len() > 0 {
			out = append(out, a2a.NewTextPart(b.String()))
			b.Reset()
		}
	}
	for _, p := range pieces {
		if _, ok := p.Content.(a2a.Text); ok {
			b.WriteString(p.Text())
			continue
		}
		flush()
		out = append(out, p)
	}
	flush()
	return out
}

// incomplete is the position at which an unfinished rune at the end of s begins, or len(s).
func incomplete(s string) int {
	for i := len(s) - 1; i >= 0 && i >= len(s)-utf8.UTFMax; i-- {
		if utf8.RuneStart(s[i]) {
			if utf8.FullRuneInString(s[i:]) {
				break
			}
			return i
		}
	}
	return len(s)
}

// empty reports whether this attempt has no answer.
func (a *answer) empty() bool { return a.held == nil && len(a.sent) == 0 && a.broken == "" }
