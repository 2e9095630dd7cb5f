package sqlstore

import (
	"database/sql/driver"
	"os"
)

// shorten empties the log if it has become too long. SQLite begins to use a log again only at
// a moment when no read uses it, and lists that overlap leave no such moment. So the writer
// makes one: no read begins until those under way have ended, after Options.ListFor and
// Options.CountFor at most, and the log is in the file. bytes were written since the last
// call, about.
func (w *writer) shorten(bytes int64) {
	const step = 4 << 20 // a look at the file for each
	most := w.db.opts.logMost
	if w.written += bytes; w.written < min(step, most/2) {
		return
	}
	w.written = 0
	if info, err := os.Stat(w.file.path + "-wal"); err != nil || info.Size() < most {
		return // without a log there is nothing to empty
	}

	w.file.reading.Lock()
	defer w.file.reading.Unlock()
	var busy int64
	err := w.conn.query(func(row []driver.Value) error {
		busy, _ = row[0].(int64)
		return nil
	}, "PRAGMA wal_checkpoint(TRUNCATE)")
	if err != nil || busy != 0 { // on a full disk, or beside another program that reads the file
		w.db.opts.Log.Error("the log of the database cannot be emptied, and grows", "file", w.file.path, "busy", busy, "err", err, "alert", true)
	}
}
