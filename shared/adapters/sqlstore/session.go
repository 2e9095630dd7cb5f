package sqlstore

import (
	"context"
	"database/sql/driver"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
)

// A session is one connection to Postgres. It takes the statements that SQLite takes, too.
type session struct{ conn *pgx.Conn }

func (s session) queryWithin(ctx context.Context, each func(row []driver.Value) error, query string, args ...any) error {
	rows, err := s.conn.Query(ctx, translated(query), outward(args)...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		row, err := inward(rows)
		if err == nil {
			err = each(row)
		}
		if err != nil {
			s.discard(rows)
			return err
		}
	}
	return rows.Err()
}

// discard leaves the rest of a result unread, such as the rows behind a full page. A long rest
// costs the connection.
func (s session) discard(rows pgx.Rows) {
	const most = 1 << 20
	for size := 0; rows.Next(); {
		for _, value := range rows.RawValues() {
			size += len(value)
		}
		if size > most {
			_ = s.conn.PgConn().Conn().Close()
		}
	}
}

func (s session) execWithin(ctx context.Context, query string, args ...any) (int64, error) {
	tag, err := s.conn.Exec(ctx, translated(query), outward(args)...)
	return tag.RowsAffected(), err
}

// What SQLite's statements have, and those of Postgres have not: the index to use, and
// arguments with a question mark.
var (
	indexed   = regexp.MustCompile(`INDEXED BY \w+ ?`)
	arguments = regexp.MustCompile(`\?(\d*)`)
	known     sync.Map // translated statements; there are a few fixed texts
)

// translated is a statement as Postgres takes it.
func translated(query string) string {
	if text, ok := known.Load(query); ok {
		return text.(string)
	}

	n := 0
	text := arguments.ReplaceAllStringFunc(indexed.ReplaceAllString(query, ""), func(arg string) string {
		if arg == "?" {
			n++
			return fmt.Sprint("$", n)
		}
		return "$" + arg[1:]
	})

	known.Store(query, text)
	return text
}

// outward are arguments as Postgres takes them.
func outward(args []any) []any {
	out := make([]any, len(args))
	for i, arg := range args {
		switch arg := arg.(type) {
		case string:
			out[i] = escaped(arg)
		case []string:
			list := make([]string, len(arg))
			for j, s := range arg {
				list[j] = escaped(s)
			}
			out[i] = list
		default:
			out[i] = arg
		}
	}
	return out
}

// inward are the values of a row as SQLite has them.
func inward(rows pgx.Rows) ([]driver.Value, error) {
	values, err := rows.Values()
	if err != nil {
		return nil, err
	}
	row := make([]driver.Value, len(values))
	for i, v := range values {
		switch v := v.(type) {
		case string:
			row[i] = unescaped(v)
		case int32:
			row[i] = int64(v)
		default:
			row[i] = v
		}
	}
	return row, nil
}

// escape begins a text that Postgres cannot store, and is itself escaped.
const escape = "\x1b"

// escaped is a text as a column of Postgres holds it: texts of Postgres are valid UTF-8
// without the character NUL. Different texts stay different.
func escaped(s string) string {
	if utf8.ValidString(s) && !strings.ContainsAny(s, "\x00\n"+escape) {
		return s
	}
	return escape + hex.EncodeToString([]byte(s))
}

// unescaped is the text that was escaped.
func unescaped(s string) string {
	text, ok := strings.CutPrefix(s, escape)
	if !ok {
		return s
	}
	if was, err := hex.DecodeString(text); err == nil {
		return string(was)
	}
	return s
}
