package executor

import (
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/task"
)

// maxAnswer is the room that a record has for the answer when its messages use up their own
// share (R14).
const maxAnswer = task.LimitResult - task.LimitAccept

// An answer is the artifact of a turn: what its last reply says. The pieces of every reply are
// sent as the model makes them, although calls may follow. The first piece of the next reply
// then replaces them, or the end of the turn takes them back.
//
// Nothing is held back but the bytes of an incomplete rune. The end is marked by an empty text,
// which adds nothing.
type answer struct {
	turn   *turn
	id     a2a.ArtifactID
	sent   []*a2a.Part // the reply's pieces, as sent
	broken string      // the beginning of a rune
	size   int         // bytes of the reply
	begun  bool        // an update of the reply was sent, so the next one appends
	shown  bool        // an update was sent, perhaps of an earlier reply or by an earlier attempt
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
	if room := maxAnswer - a.size; len(s) > room {
		for room > 0 && !utf8.RuneStart(s[room]) {
			room--
		}
		if room > 0 {
			if err := a.part(task.TextPart(s[:room]), room); err != nil {
				return err
			}
		}
		return errTooLong
	}
	return a.part(task.TextPart(s), len(s))
}

// part adds a piece of any kind.
func (a *answer) part(p *a2a.Part, size int) error {
	if a.size+size > maxAnswer {
		return errTooLong
	}
	a.size += size
	a.sent = append(a.sent, p)
	return a.send(a2a.ContentParts{p}, a.begun, false)
}

// clear begins another reply: the model goes on after calls, or is asked again. The first
// piece of that reply replaces those that were sent.
func (a *answer) clear() {
	a.sent, a.size = nil, 0
	a.begun, a.broken = false, ""
}

// lead returns the question with the text of its own reply before it, and takes the text
// out of the answer. A long text, or one with files, is work of its own and stays there.
func (a *answer) lead(question string) string {
	said := a.words()
	if len(said) > maxQuestion || said == "" && !a.empty() {
		return question
	}

	a.clear()
	if said = strings.TrimSpace(said); said == "" {
		return question
	}
	return said + "\n\n" + question
}

// words returns the pieces as one text, or "" if one of them is a file.
func (a *answer) words() string {
	parts := joined(a.sent)
	if len(parts) != 1 {
		return ""
	}
	return parts[0].Text()
}

// close ends the answer of a turn that ends with state. An answer that was
// refused is none, and neither is one that says nothing.
func (a *answer) close(state a2a.TaskState) error {
	if state == a2a.TaskStateRejected || a.blank() {
		a.clear()
	}
	if a.empty() && a.shown {
		return a.withdraw()
	}
	return a.finish()
}

// withdraw takes back everything that was sent, for streams by an empty text. The end of the
// turn removes an artifact that is left so.
func (a *answer) withdraw() error {
	return a.send(a2a.ContentParts{task.TextPart("")}, false, true)
}

// finish marks the end.
func (a *answer) finish() error {
	if a.broken != "" {
		a.broken = ""
		if err := a.add("\uFFFD"); err != nil && !errors.Is(err, errTooLong) {
			return err
		}
	}
	if len(a.sent) == 0 {
		return nil
	}
	return a.send(a2a.ContentParts{task.TextPart("")}, true, true)
}

func (a *answer) send(parts a2a.ContentParts, more, last bool) error {
	a.begun, a.shown = true, true
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
			out = append(out, task.TextPart(b.String()))
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

// empty reports whether the reply has no text and no file.
func (a *answer) empty() bool { return len(a.sent) == 0 && a.broken == "" }

// blank reports whether the reply says nothing: at most white space.
func (a *answer) blank() bool {
	word := func(p *a2a.Part) bool {
		_, isText := p.Content.(a2a.Text)
		return !isText || strings.TrimSpace(p.Text()) != ""
	}
	return a.broken == "" && !slices.ContainsFunc(a.sent, word)
}
