package task

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
)

// unreadable is the error for a stored text that is not a record. It repeats nothing of the
// text, which is a client's. The errors of JSON would: they quote numbers and names.
func unreadable(part string, cause error) error {
	if at, ok := errors.AsType[*json.SyntaxError](cause); ok {
		return fmt.Errorf("%w: its %s is not JSON (byte %d)", ErrUnreadable, part, at.Offset)
	}
	return fmt.Errorf("%w: its %s has another form", ErrUnreadable, part)
}

// manySkipped bounds the ids that a Skips remembers.
const manySkipped = 1000

// Skips reports the records of a store that cannot be read and are left out of its lists,
// each of them once in the life of the process. The zero value is not usable: Log is
// required. It is a part for adapters, and safe for concurrent use.
type Skips struct {
	Log *slog.Logger

	mu   sync.Mutex
	seen map[string]bool
}

// Skip reports whether err says that the record with the id cannot be read. A list then goes
// on without the record, and a Load returns err. The first time it logs an alert for the operator, with the id and
// without content.
func (s *Skips) Skip(ctx context.Context, id string, err error) bool {
	if !errors.Is(err, ErrUnreadable) {
		return false
	}
	s.mu.Lock()
	known := s.seen[id]
	if s.seen == nil || len(s.seen) >= manySkipped {
		s.seen = map[string]bool{}
	}
	s.seen[id] = true
	s.mu.Unlock()

	if !known {
		s.Log.ErrorContext(ctx, "a stored task cannot be read and is left out of lists and sweeps; with SQLite, cardserver repair shows and mends it",
			"task", id, "err", err, "alert", true)
	}
	return true
}
