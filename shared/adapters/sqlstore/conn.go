package sqlstore

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"time"

	"modernc.org/sqlite"
)

// A conn is one SQLite connection with its prepared statements. It uses the driver directly:
// database/sql would add a lock, a context watcher and conversions to each of the few
// statements of a write. A conn is not safe for concurrent use.
type conn struct {
	raw   driver.Conn
	stmts map[string]driver.Stmt // by text; there are a few fixed texts
	ran   int                    // statements so far
	fault func() error           // of a test: an error in the place of a writing statement
	row   []driver.Value
}

func connect(ctx context.Context, dsn string) (*conn, error) {
	connector, err := sqlite.NewConnector(dsn)
	if err != nil {
		return nil, err
	}
	raw, err := connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &conn{raw: raw, stmts: map[string]driver.Stmt{}}, nil
}

// prepare returns the statement. Its caller runs it once.
func (c *conn) prepare(query string) (driver.Stmt, error) {
	c.ran++
	if s, ok := c.stmts[query]; ok {
		return s, nil
	}
	s, err := c.raw.Prepare(query)
	if err != nil {
		return nil, err
	}
	c.stmts[query] = s
	return s, nil
}

// exec runs a statement and returns the number of changed rows. It cannot be interrupted,
// because these statements are short and the outcome of an interrupted write is unknown.
func (c *conn) exec(query string, args ...any) (int64, error) {
	if c.fault != nil {
		if err := c.fault(); err != nil {
			return 0, err
		}
	}
	s, err := c.prepare(query)
	if err != nil {
		return 0, err
	}
	res, err := s.(driver.StmtExecContext).ExecContext(context.Background(), named(args))
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// script runs a text with any number of statements once.
func (c *conn) script(text string) error {
	_, err := c.raw.(driver.ExecerContext).ExecContext(context.Background(), text, nil)
	return err
}

// query calls each for every row. The values of row are valid only during the call, except
// for blobs, which the callee may keep.
func (c *conn) query(each func(row []driver.Value) error, query string, args ...any) error {
	return c.queryWithin(context.Background(), each, query, args...)
}

// queryWithin is query that is interrupted when ctx ends.
func (c *conn) queryWithin(ctx context.Context, each func(row []driver.Value) error, query string, args ...any) (err error) {
	s, err := c.prepare(query)
	if err != nil {
		return err
	}

	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, stop := later(ctx)
	defer stop()
	rows, err := s.(driver.StmtQueryContext).QueryContext(ctx, named(args))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	n := len(rows.Columns())
	if cap(c.row) < n {
		c.row = make([]driver.Value, n)
	}

	row := c.row[:n]
	for {
		switch err := rows.Next(row); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}

		if err := each(row); err != nil {
			return err
		}
	}
}

// begun is longer than a statement takes to begin.
const begun = 20 * time.Millisecond

// later returns a context that ends a moment after ctx. The driver asks SQLite for an
// interrupt once, and one that comes before the statement has begun is lost.
func later(ctx context.Context) (context.Context, func()) {
	if ctx.Done() == nil {
		return ctx, func() {}
	}
	late, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		time.AfterFunc(begun, func() { cancel(context.Cause(ctx)) })
	})
	return late, func() {
		stop()
		cancel(nil)
	}
}

// number runs a query whose result is one integer.
func (c *conn) number(query string, args ...any) (n int64, err error) {
	return numberWithin(context.Background(), c, query, args...)
}

// limitLog has the log moved into the file when it has so many pages, and keeps at most twice
// as many on the disk. With 16 MiB of log instead of SQLite's 4, a page that changes often is
// written to the file a quarter as many times.
func (c *conn) limitLog(pages int64) error {
	return c.script(fmt.Sprintf("PRAGMA wal_autocheckpoint = %d; PRAGMA journal_size_limit = %d;", pages, 2*pages*pageSize))
}

func (c *conn) close() error {
	var errs []error
	for _, s := range c.stmts {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, c.raw.Close())...)
}

func named(args []any) []driver.NamedValue {
	out := make([]driver.NamedValue, len(args))
	for i, a := range args {
		out[i] = driver.NamedValue{Ordinal: i + 1, Value: a}
	}
	return out
}

// code returns SQLite's primary result code, or 0 if err is not from SQLite.
// https://www.sqlite.org/rescode.html#primary_result_codes_versus_extended_result_codes
func code(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code() & 0xff
	}
	return 0
}
