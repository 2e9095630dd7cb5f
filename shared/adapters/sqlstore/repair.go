package sqlstore

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"
)

// A Finding is a stored task that cannot be read. It shows no content.
type Finding struct {
	ID       string // the task's id
	Why      string // the part that is wrong
	Mendable bool   // the texts are whole, and only their types are wrong

	row int64
}

// A Bench repairs the records of a file while no program has it open. It is not safe for
// concurrent use.
type Bench struct {
	conn *conn
	lock *os.File
}

// OpenBench opens the existing file at path. It returns an error while a process has the
// file open, and for a file whose pages are damaged: no row of it can be trusted. Like [Open]
// it brings the file to this program's schema.
func OpenBench(ctx context.Context, path string, log *slog.Logger) (*Bench, error) {
	path, err := locate(path)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no file %s", path)
	}

	lock, err := claim(path)
	if err != nil {
		return nil, err
	}
	c, err := openWriter(ctx, path, log)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	b := &Bench{conn: c, lock: lock}
	if err := b.check(); err != nil {
		return nil, errors.Join(unopened(path, err), b.Close())
	}
	return b, nil
}

// check reads the pages of the file, and returns errDamaged with the first fault.
func (b *Bench) check() error {
	return b.conn.query(func(row []driver.Value) error {
		if row[0] != "ok" {
			return fmt.Errorf("%w: %v", errDamaged, row[0])
		}
		return nil
	}, "PRAGMA quick_check(1)")
}

// Close closes the file.
func (b *Bench) Close() error { return errors.Join(b.conn.close(), b.lock.Close()) }

// Unreadable finds the records that cannot be read. It reads the whole file.
func (b *Bench) Unreadable() ([]Finding, error) {
	var found []Finding
	err := b.conn.query(func(row []driver.Value) error {
		_, err := decodeRecord(row[1:])
		if err == nil {
			return nil
		}
		rowid, _ := row[0].(int64)
		f := Finding{ID: fmt.Sprint(row[1]), Why: err.Error(), row: rowid}
		_, err = decodeRecord([]driver.Value{row[1], row[2], blob(row[3]), blob(row[4])})
		f.Mendable = err == nil
		found = append(found, f)
		return nil
	}, "SELECT rowid, id, version, head, body FROM task")
	return found, err
}

// blob is a value with the bytes of v. SQLite's shell and its functions make a TEXT of the
// BLOB that a record is stored as.
func blob(v driver.Value) driver.Value {
	if s, ok := v.(string); ok {
		return []byte(s)
	}
	return v
}

// asideColumns are the columns of task, which the table aside has too.
const asideColumns = "id, version, owner, context, state, stamp, due, lane, leased, expires, head, body, dead"

// Mend stores a mendable record as it should be, and moves any other one to the table aside,
// unchanged.
func (b *Bench) Mend(f Finding) error {
	return b.write(func(s sums) error {
		if f.Mendable {
			_, err := b.conn.exec("UPDATE task SET head = CAST(head AS BLOB), body = CAST(body AS BLOB) WHERE rowid = ?", f.row)
			return err
		}

		rows, err := b.conn.find("WHERE rowid = ?", f.row)
		if err != nil {
			return err
		}
		for _, row := range rows {
			s.leave(row)
		}

		_, err = b.conn.exec("INSERT INTO aside (at, why, "+asideColumns+") SELECT ?, ?, "+asideColumns+" FROM task WHERE rowid = ?",
			time.Now().UnixMilli(), f.Why, f.row)
		if err == nil {
			_, err = b.conn.exec("DELETE FROM task WHERE rowid = ?", f.row)
		}
		return err
	})
}

// Aside lists the records in the table aside.
func (b *Bench) Aside() ([]Finding, error) {
	var found []Finding
	err := b.conn.query(func(row []driver.Value) error {
		rowid, _ := row[0].(int64)
		found = append(found, Finding{ID: fmt.Sprint(row[1]), Why: fmt.Sprint(row[2]), row: rowid})
		return nil
	}, "SELECT rowid, id, why FROM aside ORDER BY rowid")
	return found, err
}

// Back moves a record from the table aside to its place. It fails if the place is taken.
func (b *Bench) Back(f Finding) error {
	return b.write(func(s sums) error {
		n, err := b.conn.exec("INSERT INTO task ("+asideColumns+") SELECT "+asideColumns+" FROM aside WHERE rowid = ? ON CONFLICT DO NOTHING", f.row)
		if err == nil && n == 0 {
			err = fmt.Errorf("another task has the id %s by now", f.ID)
		}
		if err != nil {
			return err
		}

		rows, err := b.conn.find("WHERE rowid = last_insert_rowid()")
		for _, row := range rows {
			s.come(row)
		}
		if err == nil {
			_, err = b.conn.exec("DELETE FROM aside WHERE rowid = ?", f.row)
		}
		return err
	})
}

// Drop deletes a record from the table aside for good.
func (b *Bench) Drop(f Finding) error {
	return b.write(func(sums) error {
		_, err := b.conn.exec("DELETE FROM aside WHERE rowid = ?", f.row)
		return err
	})
}

// write runs f, and counts the bytes that it changes, in one transaction.
func (b *Bench) write(f func(sums) error) error {
	if err := b.conn.script("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	changed := sums{}
	err := f(changed)
	if err == nil {
		err = changed.settle(b.conn)
	}
	if err == nil {
		err = b.conn.script("COMMIT")
	}
	if err != nil {
		_ = b.conn.script("ROLLBACK") // SQLite may have ended the transaction already
	}
	return err
}
