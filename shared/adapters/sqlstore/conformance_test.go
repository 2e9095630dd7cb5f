package sqlstore_test

import (
	"fmt"
	"testing"
	"time"

	"errand/shared/adapters/sqlstore"
	"errand/shared/lab/conformance"
)

func TestStore(t *testing.T) {
	all := map[string]sqlstore.Options{"Cached": {}, "SmallCache": {CacheRecords: 3, CacheBytes: 4096}}
	if !conformance.Racing { // without a cache there is no code of its own that races
		all["FromTheFile"] = sqlstore.Options{CacheRecords: -1}
	}
	for name, opts := range all {
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
