package wire

import (
	"context"
	"iter"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"errand/shared/memory"
)

// A teller answers every read with one task of the given size.
type teller struct {
	a2asrv.RequestHandler
	bytes int
}

func (h teller) task() *a2a.Task {
	text := a2a.NewTextPart(strings.Repeat("x", h.bytes))
	return &a2a.Task{ID: "t", Artifacts: []*a2a.Artifact{{ID: "a", Parts: a2a.ContentParts{text}}}}
}

func (h teller) GetTask(context.Context, *a2a.GetTaskRequest) (*a2a.Task, error) {
	return h.task(), nil
}

func (h teller) ListTasks(context.Context, *a2a.ListTasksRequest) (*a2a.ListTasksResponse, error) {
	return &a2a.ListTasksResponse{Tasks: []*a2a.Task{h.task()}}, nil
}

func (h teller) SubscribeToTask(context.Context, *a2a.SubscribeToTaskRequest) iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) { yield(h.task(), nil) }
}

// A slowClient notes how much of the pool of answers is free while it takes an answer.
type slowClient struct {
	*httptest.ResponseRecorder
	pool *memory.Pool
	size int64
	free int64
}

func (c *slowClient) Write(p []byte) (int, error) {
	if c.ResponseRecorder.Code == http.StatusOK {
		c.free = min(c.free, left(c.pool, c.size))
	}
	return c.ResponseRecorder.Write(p)
}

// An answer and an event that are not small hold their bytes while the client takes them,
// and no longer. Without room they are refused, and small ones are not.
func TestAnswersAreCharged(t *testing.T) {
	const size = 200_000
	for _, operation := range []string{"GetTask", "ListTasks", "SubscribeToTask"} {
		for _, tt := range []struct {
			name         string
			bytes, taken int64
			code         int
			held         bool
		}{
			{"large", 100_000, 0, http.StatusOK, true},
			{"large, no room", 100_000, 150_000, http.StatusServiceUnavailable, false},
			{"small, no room", 1000, size, http.StatusOK, false},
		} {
			pool := memory.Sized(size)
			others := pool.Charge("")
			if err := others.Take(tt.taken); err != nil {
				t.Fatal(err)
			}

			c := &slowClient{httptest.NewRecorder(), pool, size, size}
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(
				`{"jsonrpc":"2.0","id":1,"method":"`+operation+`","params":{`+map[bool]string{true: `"includeArtifacts":true`, false: `"id":"t"`}[operation == "ListTasks"]+`}}`))
			r.Header.Set("Content-Type", "application/json")
			JSONRPC(teller{bytes: int(tt.bytes)}, Options{Memory: &Memory{Requests: memory.Sized(1 << 20), Answers: pool}}).ServeHTTP(c, r)

			name := operation + ", " + tt.name
			if c.Code != tt.code {
				t.Errorf("%s: HTTP %d %.200s, want %d", name, c.Code, c.Body, tt.code)
			}
			if held := size - tt.taken - c.free; tt.held && held < tt.bytes {
				t.Errorf("%s: %d bytes are held while the client takes %d", name, held, c.Body.Len())
			}
			if tt.code == http.StatusServiceUnavailable && (c.Header().Get("Retry-After") != strconv.Itoa(1) || !strings.Contains(c.Body.String(), "too many answers")) {
				t.Errorf("%s: Retry-After %q, %s", name, c.Header().Get("Retry-After"), c.Body)
			}
			if free := left(pool, size); free != size-tt.taken {
				t.Errorf("%s: %d bytes are free afterwards, want %d", name, free, size-tt.taken)
			}
		}
	}
}
