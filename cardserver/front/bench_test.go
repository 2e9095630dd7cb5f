package front_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

// discard is a client that reads nothing.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}

func (w *world) serve(body string) { w.serveRequest(newRequest(http.MethodPost, "/", body)) }

func (w *world) serveRequest(r *http.Request) { w.ServeHTTP(discard{http.Header{}}, r) }

// ways are the bindings and versions, each with a send that returns at once and a get.
var ways = []struct {
	name string
	send func(id string) *http.Request
	get  func(id string) *http.Request
}{
	{"1.0-rpc", func(id string) *http.Request { return rpcRequest(send, sending(message(id, ""))) },
		func(id string) *http.Request { return rpcRequest("GetTask", byID(id)) }},
	{"1.0-rest", func(id string) *http.Request { return newRequest("POST", "/message:send", sending(message(id, ""))) },
		func(id string) *http.Request { return newRequest("GET", "/tasks/"+id, "") }},
	{"0.3-rpc", func(id string) *http.Request { return rpcRequest("message/send", sending03(id)) },
		func(id string) *http.Request { return rpcRequest("tasks/get", byID(id)) }},
	{"0.3-rest", func(id string) *http.Request { return newRequest("POST", "/v1/message:send", sending03(id)) },
		func(id string) *http.Request { return newRequest("GET", "/v1/tasks/"+id, "") }},
}

func sending03(id string) string {
	return `{"message":{"kind":"message","messageId":"` + id + `","role":"user","parts":[{"kind":"text","text":"hi"}]},"configuration":{"blocking":false}}`
}

// BenchmarkWays compares the bindings and versions: run it with -count and -benchtime,
// and compare within one run.
func BenchmarkWays(b *testing.B) {
	for _, way := range ways {
		b.Run("get/"+way.name, func(b *testing.B) {
			w := newWorld(b)
			id := w.insert(anonymous, "m", a2a.TaskStateCompleted).ID()
			b.ReportAllocs()
			for b.Loop() {
				w.serveRequest(way.get(id))
			}
		})
	}

	for _, way := range ways {
		b.Run("send/"+way.name, func(b *testing.B) {
			w := newWorld(b)
			requests := make(chan *http.Request, b.N)
			for i := range b.N {
				requests <- way.send(fmt.Sprint("m-", i))
			}

			close(requests)
			b.ReportAllocs()
			b.ResetTimer()
			var all sync.WaitGroup

			for range 32 {
				all.Go(func() {
					for r := range requests {
						w.serveRequest(r)
					}
				})
			}

			all.Wait()
		})
	}
}

// BenchmarkAccept is an immediate send of a new message, durable when answered. With one
// client it waits for the disk. With many, they share a commit.
func BenchmarkAccept(b *testing.B) {
	for _, clients := range []int{1, 32} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			w := newWorld(b)
			bodies := make(chan string, b.N)
			for i := range b.N {
				bodies <- request(send, sending(message(fmt.Sprint("m-", i), "")))
			}

			close(bodies)
			b.ReportAllocs()
			b.ResetTimer()
			done := make(chan struct{})

			for range clients {
				go func() {
					for body := range bodies {
						w.serve(body)
					}
					done <- struct{}{}
				}()
			}

			for range clients {
				<-done
			}
		})
	}
}

// BenchmarkGet reads one task of a single answer.
func BenchmarkGet(b *testing.B) {
	w := newWorld(b)
	body := request("GetTask", byID(w.insert(anonymous, "m", a2a.TaskStateCompleted).ID()))
	b.ReportAllocs()
	for b.Loop() {
		w.serve(body)
	}
}

// BenchmarkList reads a page of 50, with the total, among many tasks.
func BenchmarkList(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		w := newWorld(b)
		w.fill(n)
		for _, row := range []struct{ name, fields string }{
			{"first", ""}, {"artifacts", `"includeArtifacts":true`}, {"context", `"contextId":"c7"`},
		} {
			b.Run(fmt.Sprintf("tasks=%d/%s", n, row.name), func(b *testing.B) {
				body := request("ListTasks", "{"+row.fields+"}")
				b.ReportAllocs()
				for b.Loop() {
					w.serve(body)
				}
			})
		}
	}
}

// fill accepts n tasks, 100 to a context.
func (w *world) fill(n int) {
	next := make(chan int)
	done := make(chan struct{})
	for range 64 {
		go func() {
			for i := range next {
				w.serve(request(send, sending(message(fmt.Sprint("m-", i), fmt.Sprintf(`"contextId":"c%d"`, i/100)))))
			}
			done <- struct{}{}
		}()
	}
	for i := range n {
		next <- i
	}
	close(next)
	for range 64 {
		<-done
	}
}
