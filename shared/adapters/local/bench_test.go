package local_test

import (
	"net/http"
	"strconv"
	"testing"

	"errand/shared/adapters/local"
	"errand/shared/queue"
)

// BenchmarkAddAndDeliver delivers one job at a time through a mux and waits for each.
func BenchmarkAddAndDeliver(b *testing.B) {
	delivered := make(chan struct{}, 1)
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+queue.PathTurn, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
		delivered <- struct{}{}
	})
	q := local.NewQueue(local.QueueConfig{Handler: mux})
	b.ReportAllocs()
	for b.Loop() {
		if err := q.Add(b.Context(), turn("a")); err != nil {
			b.Fatal(err)
		}
		<-delivered
	}
	shutB(b, q)
}

// BenchmarkThroughput delivers 8,192 jobs at a time and waits for all of them.
func BenchmarkThroughput(b *testing.B) {
	const batch = 8192
	delivered := make(chan struct{}, batch)
	q := local.NewQueue(local.QueueConfig{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		delivered <- struct{}{}
	})})
	ids := make([]string, batch)
	for i := range ids {
		ids[i] = strconv.Itoa(i)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += batch {
		for _, id := range ids {
			if err := q.Add(b.Context(), turn(id)); err != nil {
				b.Fatal(err)
			}
		}
		for range ids {
			<-delivered
		}
	}
	b.StopTimer()
	shutB(b, q)
}

func shutB(b *testing.B, q *local.Queue) {
	b.Helper()
	if err := q.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
}
