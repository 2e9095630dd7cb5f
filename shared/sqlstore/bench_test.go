package sqlstore_test

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"errand/shared/sqlstore"
	"errand/shared/task"
)

// cpu reports the processor time of f per operation: with several clients the
// wall time says little.
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

// each runs f for 0 to n-1 in so many goroutines.
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
