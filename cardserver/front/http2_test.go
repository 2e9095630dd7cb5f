package front_test

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"errand/cardserver/front"
	"errand/cardserver/push"
	"errand/shared/desk"
	"errand/shared/lab/frames"
	base "errand/shared/lab/world"
	"errand/shared/limits"
	"errand/shared/serve"
	"errand/shared/task"
)

// greet opens a connection of HTTP/2, whose client takes window bytes of each answer.
func (p *ports) greet(t *testing.T, window uint32) *frames.Client {
	t.Helper()
	f, err := frames.New(p.dial(t), window)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// askAs begins the request of a head of HTTP/1.
func askAs(f *frames.Client, head string, body bool) (id uint32, err error) {
	lines := strings.Split(strings.TrimSpace(head), "\r\n")
	method, path, _ := strings.Cut(strings.TrimSuffix(lines[0], " HTTP/1.1"), " ")
	host, fields := "", []string(nil)
	for _, line := range lines[1:] {
		switch name, value, _ := strings.Cut(line, ": "); name {
		case "Host":
			host = value
		case "Transfer-Encoding": // is in the frames
		default:
			fields = append(fields, strings.ToLower(name), value)
		}
	}
	return f.AskHost(host, method, path, body, fields...)
}

// The walk of [TestNoClientHoldsAConnection] inside connections of HTTP/2: every request ends,
// and none ends its connection.
func TestNoClientHoldsAStream(t *testing.T) {
	t.Parallel()
	edit, callers := guarded(t, "alice", "ops")
	w := newWorld(t, edit, func(c *front.Config) {
		d := desk.New(desk.Config{Store: c.Store, Queue: &base.Jobs{}, Rules: task.Defaults(), Now: time.Now, Log: c.Log})
		c.Push = push.New(push.Config{Desk: d, Store: c.Store.(push.Store), Keys: c.Keys, Access: c.Access, CheckURL: c.CheckURL, Log: c.Log})
	})
	const d, enough = 200 * time.Millisecond, 1 << 20
	p := listen(t, w, serve.Options{Limits: serve.Limits{Read: d, Write: d, Discard: d}})
	paths := served(t, w)

	for way, row := range map[string]struct {
		window uint32
		begin  func(f *frames.Client, head string) (uint32, error)
		want   []int
	}{
		"stops after a byte": {enough, func(f *frames.Client, head string) (uint32, error) {
			id, err := askAs(f, head, true)
			if err != nil {
				return id, err
			}
			return id, f.WriteData(id, false, []byte("{"))
		}, []int{400, 401, 403, 404, 405, 408, 413, 415, 421}},

		unread: {0, func(f *frames.Client, head string) (uint32, error) {
			return askAs(f, head, strings.Contains(head, "Content-Length"))
		}, []int{200, 204, 401}},
	} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			f, seen := p.greet(t, row.window), map[int]int{}
			for some := range slices.Chunk(heads(paths, callers["alice"], way), 200) {
				var ids []uint32
				for _, head := range some {
					id, err := row.begin(f, head)
					if err != nil {
						t.Fatal(err)
					}
					ids = append(ids, id)
				}

				for i, id := range ids {
					a, err := f.End(id)
					if err != nil {
						t.Fatalf("%q is held with %+v: %v", some[i], a, err)
					}
					seen[a.Status]++
				}
			}

			id, err := f.Ask("GET", serve.PathLive, false)
			if err != nil {
				t.Fatal(err)
			}
			if a, err := f.End(id); err != nil || a.Status != http.StatusNoContent {
				t.Errorf("afterwards the connection answers %+v, %v", a, err)
			}
			t.Logf("%d paths; statuses: %v", len(paths), seen)
			for _, status := range row.want {
				if seen[status] == 0 {
					t.Errorf("no request got the status %d", status)
				}
			}
		})
	}
}

// watched counts the watches of a store.
type watched struct {
	task.Store
	open *atomic.Int64
}

func (s watched) Watch(ctx context.Context, id string) iter.Seq2[task.Record, error] {
	return func(yield func(task.Record, error) bool) {
		s.open.Add(1)
		defer s.open.Add(-1)
		s.Store.Watch(ctx, id)(yield)
	}
}

// A client of HTTP/2 that takes a wait or a stream back, or leaves, frees its place and the watch
// on its task. The same connection takes the next one.
func TestClientOfHTTP2ThatLeaves(t *testing.T) {
	const most = 3
	var open atomic.Int64
	var places *limits.Limits
	var callersOwn int64
	edit, callers := guarded(t, "alice")
	w := newWorld(t, edit, func(c *front.Config) {
		places = limits.New(limits.Config{Of: c.Access.Limits, Holder: c.Store.(task.Holder), Log: c.Log})
		callersOwn = c.Access.Limits("alice").Streams
		c.Limits, c.Store = places, watched{c.Store, &open}
		c.Desk = desk.New(desk.Config{Store: c.Store, Queue: &base.Jobs{}, Rules: task.Defaults(), Now: time.Now, Log: c.Log})
	})
	p := listen(t, w, serve.Options{})
	c := p.dial(t)
	f, err := frames.New(c, 1<<20)
	if err != nil {
		t.Fatal(err)
	}

	ask := func(path, body string) uint32 {
		id, err := f.Ask("POST", path, true, "content-type", "application/json", "x-api-key", callers["alice"])
		if err == nil {
			err = f.WriteData(id, true, []byte(body))
		}
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	until := func(what string, done func() bool) {
		t.Helper()
		for end := time.Now().Add(guard); !done(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s; %d watches are open", what, open.Load())
			}
		}
	}

	first, _ := task.Derive("alice", "m0")
	for round, leave := range []func(ids []uint32) error{
		func(ids []uint32) (err error) {
			for _, id := range ids {
				err = f.WriteRSTStream(id, http2.ErrCodeCancel)
			}
			return err
		},
		func([]uint32) error { return c.Close() },
	} {
		ids := []uint32{
			ask("/message:send", fmt.Sprintf(`{"message":%s}`, message(fmt.Sprintf("m%d", 2*round), ""))),
			ask("/message:stream", fmt.Sprintf(`{"message":%s}`, message(fmt.Sprintf("m%d", 2*round+1), ""))),
		}
		until("the first two do not wait", func() bool { return open.Load() == most-1 })
		ids = append(ids, ask("/tasks/"+first+":subscribe", `{}`))
		until("the subscription does not wait", func() bool { return open.Load() == most })
		if err := leave(ids); err != nil {
			t.Fatal(err)
		}
		until("the client has left, and is waited for", func() bool { return open.Load() == 0 })
	}

	until("a place is taken", func() bool {
		for range callersOwn {
			leave, err := places.Enter("alice")
			if err != nil {
				return false
			}
			defer leave()
		}
		return true
	})
}
