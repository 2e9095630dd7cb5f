package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"time"

	sqlite3 "modernc.org/sqlite/lib"
)

// mode hides the conversations of all clients from other users of the machine. SQLite gives
// the -wal and -shm files the mode of the database.
const mode = 0o600

// locate returns the one real name of the database file, so that all names of a file lead to
// the same lock.
func locate(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("finding %s: %w", path, err)
	}
	resolved, err := filepath.EvalSymlinks(abs)
	if err == nil {
		return resolved, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("finding %s: %w", path, err)
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(abs))
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("the folder of %s does not exist: create it or name another file", path)
	}
	if err != nil {
		return "", fmt.Errorf("finding the folder of %s: %w", path, err)
	}
	return filepath.Join(dir, filepath.Base(abs)), nil
}

// lockWait is how long Open waits for a process that is ending. The kernel needs a moment to
// end a killed process, and the program may start again before that.
const lockWait = 2 * time.Second

// claim locks the database for this process until the returned file is closed. The lock is a
// file beside the database, because closing a second descriptor of the database would drop
// SQLite's own locks.
// https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_
func claim(path string) (*os.File, error) {
	f, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, mode)
	if err != nil {
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	err = tryLock(f)
	for end := time.Now().Add(lockWait); err != nil && isHeld(err) && time.Now().Before(end); err = tryLock(f) {
		time.Sleep(lockWait / 100)
	}
	if err != nil {
		held := isHeld(err)
		err = errors.Join(err, f.Close())
		if held {
			return nil, fmt.Errorf("%s is in use by another process: stop that process, or name another file", path)
		}
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	return f, nil
}

// private creates an empty database file, or removes the permissions of other users from the
// existing one. So the mode depends neither on the umask nor on the way in which a copy was
// made. The result distinguishes the file from a later one with the same name.
func private(path string) (fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, mode)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("opening %s: not a regular file", path)
	}
	if info.Mode().Perm()&^mode != 0 {
		if err := f.Chmod(mode); err != nil {
			return nil, fmt.Errorf("making %s private: %w", path, err)
		}
	}
	return info, nil
}

// inPlace returns an error if the file was deleted or replaced while the program runs.
// SQLite would go on writing to the file without a name, and the next start would not find
// acknowledged writes.
func (e *embedded) inPlace() error {
	now, err := os.Stat(e.path)
	if err != nil {
		return fmt.Errorf("checking that the database is in its place: %w", err)
	}
	if !os.SameFile(e.file, now) {
		return fmt.Errorf("%s was replaced: start the program again", e.path)
	}
	return nil
}

// dsn returns the URI of a path. A path may have any character, and a plain "?" would begin
// the parameters.
func dsn(path, params string) string {
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: params}
	return u.String()
}

// openWriter opens the one connection that writes. It checks that the file belongs to Errand
// and migrates it to this schema.
func openWriter(ctx context.Context, path string, log *slog.Logger) (*conn, error) {
	c, err := connect(ctx, dsn(path, "_busy_timeout=5000"))
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	if err := setUp(c, log.With("file", path)); err != nil {
		return nil, unopened(path, errors.Join(err, c.close()))
	}
	return c, nil
}

// unopened says why the file at path cannot be opened, and what helps.
func unopened(path string, err error) error {
	switch code(err) {
	case sqlite3.SQLITE_NOTADB:
		err = errNotOurs
	case sqlite3.SQLITE_CORRUPT:
		err = fmt.Errorf("%w: %w", errDamaged, err)
	case sqlite3.SQLITE_FULL:
		err = fmt.Errorf("the disk is full, and the file is unchanged: make room, and start again: %w", err)
	}
	return fmt.Errorf("opening %s: %w", path, err)
}

// openReader opens a connection that cannot write.
func openReader(ctx context.Context, path string) (*conn, error) {
	c, err := connect(ctx, dsn(path, "mode=ro&_query_only=1&_busy_timeout=5000&_pragma=cache_size(-2048)"))
	if err != nil {
		return nil, fmt.Errorf("opening %s for reading: %w", path, err)
	}
	return c, nil
}
