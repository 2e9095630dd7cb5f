package sqlstore

import (
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"errand/shared/task"
)

// Sizes of the room that is kept for the writes that end and delete tasks.
const (
	Reserve      = 32 << 20 // the reserve, but at most a sixteenth of the disk, or leastReserve
	floorBytes   = 64 << 20 // no message is accepted while less is free, but at most an eighth of the disk
	leastReserve = 8 << 20  // for a few of the largest records and the log, but at most a quarter of the disk
	roomFor      = 100 * time.Millisecond

	pageSize      = 4 << 10 // of SQLite
	usualLogPages = Reserve / 2 / pageSize
)

// A reserve is a file beside the database whose content is worthless. It is given up when the
// disk is full, so that tasks can still be ended and deleted, and taken back when there is
// room. It is safe for concurrent use.
type reserve struct {
	path  string
	want  int64 // its size on a large disk; 0: there is no reserve, and no floor
	space func(folder string) (free, total int64, err error)
	log   *slog.Logger

	mu      sync.Mutex
	held    int64 // its present size
	checked time.Time
	full    error // why no message is accepted, as last checked
}

func newReserve(db string, opts Options) *reserve {
	r := &reserve{path: db + ".reserve", want: opts.Reserve, space: opts.space, log: opts.Log.With("file", db)}
	if info, err := os.Stat(r.path); err == nil {
		r.held = info.Size()
	}
	return r
}

// giveUp makes room, and reports whether it made any. An eighth of the reserve is left for the
// next start, because SQLite needs room to open the file.
func (r *reserve) giveUp(starting bool) bool {
	const least = 64 << 10
	r.mu.Lock()
	defer r.mu.Unlock()
	keep := int64(0)
	if !starting {
		keep = max(r.held/8, least)
	}
	if r.held <= keep {
		return false
	}

	err := os.Truncate(r.path, keep)
	if keep == 0 {
		err = os.Remove(r.path)
	}
	if err != nil {
		r.log.Error("the disk is full, and the reserve cannot be given up", "err", err, "alert", true)
		return false
	}

	r.log.Error("the disk is full: the reserve is given up, tasks can be ended and deleted, and no message is accepted; make room",
		"bytes", r.held-keep, "alert", true)
	r.held, r.checked = keep, time.Time{}
	return true
}

// check reports whether messages may be accepted: task.ErrFull while the disk has less than
// the floor, or while the reserve is given up. pages are the free bytes within the database.
// A result holds for a tenth of a second.
func (r *reserve) check(now time.Time, pages func() (int64, error)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.want == 0 || now.Sub(r.checked).Abs() < roomFor {
		return r.full
	}

	free, total, err := r.space(filepath.Dir(r.path))
	if err != nil {
		r.log.Warn("the free space of the disk is not known", "err", err)
		return r.full
	}
	size, floor := r.sizeOn(total), min(int64(floorBytes), total/8)
	if r.held < size && free >= floor+size {
		r.take(size)
	}

	inside := int64(0)
	if free < floor {
		if inside, err = pages(); err != nil {
			return err
		}
	}

	was := r.full
	r.checked, r.full = now, nil
	if r.held < size || free+inside < floor {
		r.full = task.ErrFull
	}
	switch {
	case was == nil && r.full != nil:
		r.log.Error("no message is accepted until there is room on the disk", "free", free, "floor", floor, "reserve", r.held, "alert", true)
	case was != nil && r.full == nil:
		r.log.Info("there is room on the disk again", "free", free)
	}
	return r.full
}

// sizeOn returns the size of the reserve on a disk of so many bytes.
func (r *reserve) sizeOn(total int64) int64 {
	return min(r.want, max(total/16, min(leastReserve, total/4)))
}

// logPages returns the pages of the database's log at which it is moved into the file: half of
// the reserve. The move may need that much room, because the file grows first.
func (r *reserve) logPages() int64 {
	_, total, err := r.space(filepath.Dir(r.path))
	if r.want == 0 || err != nil {
		return usualLogPages
	}
	return min(usualLogPages, r.sizeOn(total)/2/pageSize)
}

// take writes the reserve, with bytes that no file system can compress. If that fails there is
// none, and the next check tries again.
func (r *reserve) take(size int64) {
	err := func() (err error) {
		f, err := os.OpenFile(r.path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		if _, err := io.CopyN(f, rand.NewChaCha8([32]byte{}), size); err != nil {
			return err
		}
		return f.Sync()
	}()
	if r.held = size; err != nil {
		r.held = 0
		r.log.Warn("the reserve cannot be written", "err", errors.Join(err, os.Remove(r.path)))
	}
}

// errNoRoom stands in tests for a full disk.
var errNoRoom = errors.New("sqlstore: no room")

// noRoom reports whether err means that the disk is full.
func noRoom(err error) bool {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code()&0xff == sqlite3.SQLITE_FULL || e.Code() == sqlite3.SQLITE_IOERR_SHMSIZE
	}
	return errors.Is(err, errNoRoom)
}
