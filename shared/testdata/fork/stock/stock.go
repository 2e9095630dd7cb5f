package stock

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"

	_ "modernc.org/sqlite"

	"errand/shared/kit"
	"errand/worker/tools"
)

type Stock struct {
	env   kit.Env
	db    *sql.DB
	first int
}

func Open(env kit.Env) (*Stock, error) {
	var s struct {
		File  string `setting:"stock_file"`
		First int    `setting:"first_stock"`
	}
	if err := env.Settings(&s); err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", "file:"+s.File+"?_pragma=busy_timeout(10000)")
	if err != nil {
		return nil, err
	}
	_, err = db.Exec(`CREATE TABLE IF NOT EXISTS reserved (key TEXT PRIMARY KEY, item TEXT, owner TEXT)`)
	return &Stock{env, db, s.First}, err
}

// Count is how many of an item are left.
func (s *Stock) Count(ctx context.Context, item string) (left int, err error) {
	err = s.db.QueryRowContext(ctx, `SELECT ? - count(*) FROM reserved WHERE item = ?`, s.first, item).Scan(&left)
	return left, err
}

type item struct {
	Item string `json:"item"`
}

func (s *Stock) Tools() []tools.Tool {
	return []tools.Tool{
		tools.New("stock", "Tells how many of an item there are.", func(ctx context.Context, in item) (int, error) { return s.Count(ctx, in.Item) }),
		tools.New("reserve", "Reserves one of an item and returns a sealed receipt.", s.reserve, tools.Effects()),
	}
}

func (s *Stock) reserve(ctx context.Context, in item) (receipt string, err error) {
	call := tools.InfoFrom(ctx)
	seal, err := s.env.Secret(ctx, "stock-seal")
	if err != nil {
		return "", err
	}
	if _, err := s.db.ExecContext(ctx, `INSERT OR IGNORE INTO reserved VALUES (?, ?, ?)`, call.Key, in.Item, call.Caller); err != nil {
		return "", err
	}
	return Receipt(seal.Text(), in.Item), nil
}

// Receipt seals what was reserved.
func Receipt(seal, item string) string {
	mac := hmac.New(sha256.New, []byte(seal))
	mac.Write([]byte(item))
	return hex.EncodeToString(mac.Sum(nil)[:8])
}
