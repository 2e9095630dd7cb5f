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

// mode keeps the conversations of all clients from other users of the machine.
// SQLite gives the -wal and -shm files the mode of the database.
const mode = 0o600

// locate names the database file once and for all: two names of one file must
// meet in one lock.
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

// lockWait is how long a process that is ending may take to let the database go. The
// kernel takes a moment to end one that was killed, and it may be started again before.
const lockWait = 2 * time.Second

// claim takes the database for this process until the returned file is closed.
// The lock lies beside the database, because closing a second descriptor of the
// database itself would drop SQLite's own locks.
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
			return nil, fmt.Errorf("%s is in use by another process: stop that one, or name another file", path)
		}
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	return f, nil
}

// private creates the database file, empty, or takes back what others may do
// with it: the mode must not depend on the umask, nor on how a copy was made. It
// returns what tells the file from another one of its name.
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
		return nil, fmt.Errorf("opening %s: not a file", path)
	}
	if info.Mode().Perm()&^mode != 0 {
		if err := f.Chmod(mode); err != nil {
			return nil, fmt.Errorf("making %s private: %w", path, err)
		}
	}
	return info, nil
}

// inPlace fails when the file was deleted or replaced under the program. SQLite
// would go on writing to what has no name any more, and what is acknowledged then
// is lost at the next start.
func (db *DB) inPlace() error {
	now, err := os.Stat(db.path)
	if err != nil {
		return fmt.Errorf("looking for the database: %w", err)
	}
	if !os.SameFile(db.file, now) {
		return fmt.Errorf("%s was replaced: start the program again", db.path)
	}
	return nil
}

// dsn is the URI of path: any character may be in a path, and "?" would begin
// the parameters.
func dsn(path, params string) string {
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: params}
	return u.String()
}

// openWriter opens the one connection that writes, and makes sure that the file
// is ours and of this schema.
func openWriter(ctx context.Context, path string, log *slog.Logger) (*conn, error) {
	c, err := connect(ctx, dsn(path, "_busy_timeout=5000"))
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	if err := setUp(c, log.With("file", path)); err != nil {
		err = errors.Join(err, c.close())
		switch code(err) {
		case sqlite3.SQLITE_NOTADB:
			err = errNotOurs
		case sqlite3.SQLITE_CORRUPT:
			err = fmt.Errorf("it is damaged: put a copy in its place, or name another file: %w", err)
		case sqlite3.SQLITE_FULL:
			err = fmt.Errorf("the disk is full, and the file is as it was: make room, and start again: %w", err)
		}
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	return c, nil
}

// openReader opens a connection that cannot write.
func openReader(ctx context.Context, path string) (*conn, error) {
	c, err := connect(ctx, dsn(path, "mode=ro&_query_only=1&_busy_timeout=5000&_pragma=cache_size(-2048)"))
	if err != nil {
		return nil, fmt.Errorf("opening %s for reading: %w", path, err)
	}
	return c, nil
}
