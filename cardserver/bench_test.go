package main_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

// BenchmarkWebhooks is a task with a webhook, from the message to the last delivery, with
// the real program and a receiver on the same machine. It reports deliveries per second,
// and the time from the commit of a state, whose timestamp is taken before it, to the first
// byte at the receiver: one task at a time, and 32.
func BenchmarkWebhooks(b *testing.B) {
	for _, clients := range []int{1, 32} {
		b.Run(fmt.Sprintf("%d clients", clients), func(b *testing.B) {
			var mu sync.Mutex
			var lags []time.Duration
			deliveries, left := 0, make(chan struct{}, 1<<20)

			hooks := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				at := time.Now()
				var ev a2a.StreamResponse
				if err := json.NewDecoder(r.Body).Decode(&ev); err != nil {
					b.Error(err)
					return
				}

				mu.Lock()
				defer mu.Unlock()
				deliveries++

				if up, ok := ev.Event.(*a2a.TaskStatusUpdateEvent); ok {
					lags = append(lags, at.Sub(*up.Status.Timestamp))
					left <- struct{}{}
				}
			}))

			defer hooks.Close()
			p := start(b, "ERRAND_MODEL=standin:", "ERRAND_PUSH_ALLOW="+strings.TrimPrefix(hooks.URL, "http://"))
			c := p.client()

			send := func(i int) {
				req := immediately(userText(fmt.Sprintf("m%d", i), "hello"))
				req.Config.PushConfig = &a2a.PushConfig{URL: hooks.URL}
				if _, err := c.SendMessage(b.Context(), req); err != nil {
					b.Error(err)
				}
			}

			b.ResetTimer()
			next, senders := make(chan int), sync.WaitGroup{}

			for range clients {
				senders.Go(func() {
					for i := range next {
						send(i)
						<-left // one of those in flight
					}
				})
			}

			for i := range b.N {
				next <- i
			}

			close(next)
			senders.Wait()
			mu.Lock()
			defer mu.Unlock()
			slices.Sort(lags)
			b.ReportMetric(float64(deliveries)/b.Elapsed().Seconds(), "deliveries/s")
			b.ReportMetric(float64(lags[len(lags)/2].Microseconds())/1000, "ms-p50")
			b.ReportMetric(float64(lags[len(lags)*99/100].Microseconds())/1000, "ms-p99")
		})
	}
}
