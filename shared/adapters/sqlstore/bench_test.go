package sqlstore_test

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/adapters/sqlstore"
	"errand/shared/kv"
	"errand/shared/task"
)

// cpu reports the processor time of f per operation, because with several clients the wall
// time says little.
func cpu(b *testing.B, n int, f func()) {
	b.Helper()
	var before, after syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &before); err != nil {
		b.Fatal(err)
	}
	f()
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &after); err != nil {
		b.Fatal(err)
	}
	spent := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
	b.ReportMetric(float64(spent.Microseconds())/float64(n), "cpu-µs/op")
}

// each calls f with 0 to n-1, in one goroutine for each client.
func each(clients, n int, f func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				f(int(i))
			}
		})
	}
	wg.Wait()
}

func records(b *testing.B, n int) []task.Record {
	out := make([]task.Record, n)
	now := time.Now()
	for i := range out {
		out[i] = accepted(b, hashed(strconv.Itoa(i)), now.Add(time.Duration(i)*time.Millisecond))
	}
	return out
}

func BenchmarkCreate(b *testing.B) {
	for _, clients := range []int{1, 32} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			db := open(b, file(b), sqlstore.Options{})
			rs := records(b, b.N)
			b.ReportAllocs()
			b.ResetTimer()
			cpu(b, b.N, func() {
				each(clients, b.N, func(i int) {
					if _, err := db.Create(b.Context(), rs[i]); err != nil {
						b.Error(err)
					}
				})
			})
		})
	}
}

func BenchmarkCommit(b *testing.B) {
	for _, clients := range []int{1, 32} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			db := open(b, file(b), sqlstore.Options{})
			rs := records(b, 1000)
			for i, r := range rs {
				rs[i] = stored(b, db, r)
			}

			now := task.Defaults().At(time.Now())
			busy := make([]sync.Mutex, len(rs))
			b.ReportAllocs()
			b.ResetTimer()

			cpu(b, b.N, func() {
				each(clients, b.N, func(i int) {
					k := i % len(rs)
					busy[k].Lock()
					defer busy[k].Unlock()
					now := now
					now.Now = now.Now.Add(time.Duration(i+1) * time.Hour)
					next, lanes, err := rs[k].Swept(now, now.Now)
					if err != nil || len(lanes) == 0 {
						b.Errorf("Swept: lanes %v, %v", lanes, err)
						return
					}

					if rs[k], err = db.Commit(b.Context(), next); err != nil {
						b.Error(err)
					}
				})
			})
		})
	}
}

func stored(b *testing.B, db *sqlstore.DB, r task.Record) task.Record {
	b.Helper()
	r, err := db.Create(b.Context(), r)
	if err != nil {
		b.Fatal(err)
	}
	return r
}

func BenchmarkLoad(b *testing.B) {
	for name, opts := range map[string]sqlstore.Options{"cached": {}, "file": {CacheRecords: -1}} {
		b.Run(name, func(b *testing.B) {
			db := open(b, file(b), opts)
			rs := records(b, 1000)
			each(32, len(rs), func(i int) { stored(b, db, rs[i]) })
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				if _, err := db.Load(b.Context(), rs[i%len(rs)].ID()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkList also measures the cost of opening such a file, and the memory.
func BenchmarkList(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		path := file(b)
		db := open(b, path, sqlstore.Options{})
		rs := records(b, n)
		each(32, n, func(i int) { stored(b, db, rs[i]) })
		middle, last := rs[n/2], rs[n-1]
		whole := b

		b.Run(fmt.Sprintf("tasks=%d/open", n), func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				if err := db.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				db = open(whole, path, sqlstore.Options{})
			}
		})

		for name, q := range map[string]task.Query{
			"first":   {},
			"middle":  {After: task.Ref{At: middle.Stamp(), ID: middle.ID()}},
			"bodies":  {Bodies: true},
			"count":   {Count: true},
			"context": {Context: last.Task.ContextID},
			"none":    {State: a2a.TaskStateFailed},
		} {
			q.Owner, q.Limit = "someone", 50
			b.Run(fmt.Sprintf("tasks=%d/%s", n, name), func(b *testing.B) {
				for range b.N {
					if _, err := db.List(b.Context(), q); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkPut(b *testing.B) {
	for _, clients := range []int{1, 32} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			s := open(b, file(b), sqlstore.Options{}).KV()
			value := make([]byte, 1024)
			b.ReportAllocs()
			b.ResetTimer()
			cpu(b, b.N, func() {
				each(clients, b.N, func(i int) {
					if _, err := s.Put(b.Context(), kv.Entry{Key: "step/" + hashed(strconv.Itoa(i)), Owner: "someone", Value: value}); err != nil {
						b.Error(err)
					}
				})
			})
		})
	}
}

func BenchmarkListEntries(b *testing.B) {
	s := open(b, file(b), sqlstore.Options{}).KV()
	each(32, 10_000, func(i int) {
		key := fmt.Sprintf("step/%s/%d", hashed(strconv.Itoa(i/100)), i%100)
		if _, err := s.Put(b.Context(), kv.Entry{Key: key, Value: make([]byte, 1024)}); err != nil {
			b.Error(err)
		}
	})
	prefix := "step/" + hashed("50") + "/"
	b.ResetTimer()
	for range b.N {
		if list, err := s.List(b.Context(), prefix, "", 100); err != nil || len(list) != 100 {
			b.Fatalf("List = %d entries, %v", len(list), err)
		}
	}
}
