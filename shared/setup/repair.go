package setup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"errand/shared/adapters/sqlstore"
)

// A Finding is a stored task that cannot be read.
type Finding = sqlstore.Finding

// OpenBench opens the SQLite file that the environment names, to repair its records. No
// program may have the file open.
func OpenBench(ctx context.Context, e Env, log *slog.Logger) (*sqlstore.Bench, error) {
	path, ok := e.file()
	if !ok {
		return nil, errors.New("ERRAND_STORE: repair is for a SQLite file, and this names another store")
	}
	b, err := sqlstore.OpenBench(ctx, path, log)
	if err != nil {
		return nil, fmt.Errorf("ERRAND_STORE: %w", err)
	}
	return b, nil
}
