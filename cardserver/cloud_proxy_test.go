package main_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"errand/shared/lab/conformance"
)

// A nuisance stands before a program and treats some of its requests as networks and queues
// may treat any: it brings them twice or late, or loses the answer.
type nuisance struct {
	proxy *httputil.ReverseProxy

	mu   sync.Mutex
	rand *rand.Rand

	doubled, delayed, unanswered atomic.Int64
}

const (
	suffer = 5                      // of a hundred requests, from each of the three
	late   = 300 * time.Millisecond // the emulator of Pub/Sub pushes hardly any other message while a push has no answer
)

func newNuisance(seed uint64) *nuisance {
	return &nuisance{rand: rand.New(rand.NewPCG(seed, seed))}
}

// before is the handler that passes requests on to target.
func (n *nuisance) before(t *testing.T) func(target string) http.Handler {
	return func(target string) http.Handler {
		u, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		n.proxy = &httputil.ReverseProxy{
			Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(u) },
			ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
		}
		return n
	}
}

func (n *nuisance) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the caller is gone
	}

	pass := func(w http.ResponseWriter) {
		again := r.Clone(r.Context())
		again.Body = io.NopCloser(bytes.NewReader(body))
		n.proxy.ServeHTTP(w, again)
	}

	n.mu.Lock()
	fate, wait := n.rand.IntN(100), time.Duration(n.rand.Int64N(int64(late)))
	n.mu.Unlock()

	switch {
	case fate < suffer:
		n.doubled.Add(1)
		var other sync.WaitGroup
		other.Go(func() { pass(httptest.NewRecorder()) })
		defer other.Wait()

	case fate < 2*suffer:
		n.delayed.Add(1)
		select {
		case <-time.After(wait):
		case <-r.Context().Done():
			return
		}

	case fate < 3*suffer:
		n.unanswered.Add(1)
		pass(httptest.NewRecorder())
		panic(http.ErrAbortHandler)
	}

	pass(w)
}

// TestCloudDeliveriesGoWrong shows that the promise holds when queue and bus do all that
// they may do.
func TestCloudDeliveriesGoWrong(t *testing.T) {
	t.Parallel()
	messages := conformance.Long(200, 400, 1000)
	worker, functions := newNuisance(1), newNuisance(2)
	hooks := newReceiver(t)
	c := newCloud(t, cloudConfig{
		worker: worker.before(t), functions: functions.before(t),
		env: []string{"ERRAND_MODEL=standin:delay=3ms", hooks.allow()},
	})
	l := newLoad(t, c, hooks, messages)
	l.send(time.Duration(messages) * 10 * time.Millisecond)
	l.verdict(patience)
	for name, n := range map[string]*nuisance{"worker": worker, "functions": functions} {
		doubled, delayed, unanswered := n.doubled.Load(), n.delayed.Load(), n.unanswered.Load()
		if least := int64(messages) / 200; doubled < least || delayed < least || unanswered < least {
			t.Errorf("before %s %d were doubled, %d delayed and %d not answered: too few", name, doubled, delayed, unanswered)
		}
		t.Logf("before %s %d were doubled, %d delayed, %d not answered", name, doubled, delayed, unanswered)
	}
}
