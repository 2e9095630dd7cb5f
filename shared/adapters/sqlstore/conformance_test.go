package sqlstore_test

import (
	"fmt"
	"testing"
	"time"

	"errand/shared/adapters/sqlstore"
	"errand/shared/lab/conformance"
)

func TestStore(t *testing.T) {
	for name, opts := range map[string]sqlstore.Options{
		"Cached":      {},
		"SmallCache":  {CacheRecords: 3, CacheBytes: 4096},
		"FromTheFile": {CacheRecords: -1},
	} {
		t.Run(name, func(t *testing.T) {
			conformance.Store(t, func(t *testing.T, now func() time.Time) conformance.Stored {
				opts.Now = now
				return open(t, file(t), opts)
			})
		})
	}
}

func TestStoreSkipsUnreadable(t *testing.T) {
	conformance.StoreWithUnreadable(t, func(t *testing.T, now func() time.Time) (conformance.Stored, func(string, []byte)) {
		db := open(t, file(t), sqlstore.Options{Now: now, CacheRecords: -1})
		return db, func(id string, head []byte) {
			if err := db.Script(t.Context(), fmt.Sprintf("UPDATE task SET head = x'%x' WHERE id = '%s'", head, id)); err != nil {
				t.Fatal(err)
			}
		}
	})
}
