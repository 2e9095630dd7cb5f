package kv_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"errand/shared/adapters/sqlstore"
	"errand/shared/kv"
)

// Two writers count. The second one has read an old version, so its write is refused.
func Example() {
	ctx := context.Background()
	folder, err := os.MkdirTemp("", "kv")
	if err != nil {
		fmt.Println(err)
		return
	}

	defer os.RemoveAll(folder)

	db, err := sqlstore.Open(ctx, filepath.Join(folder, "errand.db"), sqlstore.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Println(err)
		return
	}

	defer db.Close()
	store := db.KV()

	first, err := store.Put(ctx, kv.Entry{Key: "use/acme", Owner: "acme", Value: []byte("1")})
	fmt.Println(string(first.Value), err)

	first.Value = []byte("2")
	second, err := store.Put(ctx, first) // replaces the version that it has read
	fmt.Println(string(second.Value), err)

	_, err = store.Put(ctx, first) // has read that version too
	fmt.Println(errors.Is(err, kv.ErrConflict))
	// Output:
	// 1 <nil>
	// 2 <nil>
	// true
}
