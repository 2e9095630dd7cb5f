package front_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"

	"errand/cardserver/front"
	"errand/shared/lab/faulty"
	"errand/shared/task"
)

type page struct {
	Tasks     []seen `json:"tasks"`
	NextToken string `json:"nextPageToken"`
	PageSize  int    `json:"pageSize"`
	TotalSize int    `json:"totalSize"`
}

func (w *world) list(t testing.TB, fields string) page {
	t.Helper()
	return into[page](w.call(t, "ListTasks", "{"+fields+"}"))
}

// GetTask answers the task as it is now, and not found once it was purged.
//
// Shows G1, G2, decision 30.
func TestGetTaskAnswersTheTaskAsItIs(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		r := w.say(w.insert(anonymous, "m", a2a.TaskStateWorking), chunk("a", "half", false))
		got := w.call(t, "GetTask", byID(r.ID())).task()
		if got.Status.State != "TASK_STATE_WORKING" || len(got.Artifacts) != 1 || len(got.History) != 1 {
			t.Errorf("task is %+v", got)
		}
		if at, err := time.Parse("2006-01-02T15:04:05.000Z", got.Status.Timestamp); err != nil || !at.Equal(r.Stamp()) {
			t.Errorf("timestamp is %s, want that of %v in UTC milliseconds", got.Status.Timestamp, r.Stamp())
		}
		w.end(r, a2a.TaskStateCompleted)
		w.clock.Add((31 * 24 * time.Hour).Milliseconds())
		if got := w.call(t, "GetTask", byID(r.ID())); got.code() != -32001 {
			t.Errorf("after its retention: %s", got.body)
		}
		if got := w.list(t, ""); len(got.Tasks) != 0 || got.TotalSize != 0 {
			t.Errorf("after its retention it is listed: %+v", got)
		}
	})
}

// Pages hold the caller's own tasks, the newest status first.
//
// Shows G3, G4, G5, G6, G9, decision 14.
func TestPagesOfOwnTasks(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		empty := map[string]any{"tasks": []any{}, "nextPageToken": "", "pageSize": 50.0, "totalSize": 0.0}
		if diff := cmp.Diff(empty, into[map[string]any](w.call(t, "ListTasks", "{}"))); diff != "" {
			t.Errorf("an empty list (-want +got):\n%s", diff)
		}

		var want []string
		for i := range 5 {
			want = append(want, w.insert(anonymous, fmt.Sprint(i), a2a.TaskStateSubmitted).ID())
			w.insert("other", fmt.Sprint(i), a2a.TaskStateCompleted)
		}

		w.claim(want[1]) // its status is the newest now
		want = []string{want[1], want[4], want[3], want[2], want[0]}
		var got []string
		token := ""

		for range 3 {
			p := w.list(t, `"pageSize":2,"pageToken":"`+token+`"`)
			if p.PageSize != 2 || p.TotalSize != 5 {
				t.Errorf("pageSize %d, totalSize %d, want 2 and 5", p.PageSize, p.TotalSize)
			}
			got, token = append(got, ids(p.Tasks)...), p.NextToken
		}

		if diff := cmp.Diff(want, got); diff != "" || token != "" {
			t.Errorf("last token %q, pages (-want +got):\n%s", token, diff)
		}
		if p := w.list(t, `"pageSize":5`); p.NextToken != "" || len(p.Tasks) != 5 {
			t.Errorf("a page that is just full: %+v", p)
		}
	})
}

// Artifacts are listed only on request. Without it a task has no such key, not even an empty
// one.
//
// Shows G7.
func TestArtifactsAreListedOnRequest(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		w.insert(anonymous, "m", a2a.TaskStateCompleted)
		for fields, want := range map[string]bool{"": false, `"includeArtifacts":false`: false, `"historyLength":5`: false, `"includeArtifacts":true`: true} {
			got := w.call(t, "ListTasks", "{"+fields+"}")
			if has := strings.Contains(got.body, `"artifacts"`); has != want {
				t.Errorf("{%s}: %s", fields, got.body)
			}
		}
	})
}

// All filters of a list hold together, and a page token belongs to its filters.
//
// Shows G10, decision 14.
func TestFiltersHoldTogether(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		inContext := func(id, contextID string) string {
			return w.call(t, send, sending(message(id, `"contextId":"`+contextID+`"`))).task().ID
		}

		a1, a2, b1, b2 := inContext("a1", "a"), inContext("a2", "a"), inContext("b1", "b"), inContext("b2", "b")
		w.claim(a1)
		at := w.claim(b1).Stamp()
		after := func(d time.Duration) string {
			return `"statusTimestampAfter":"` + at.Add(d).Format(time.RFC3339Nano) + `"`
		}

		tokens := map[string]string{}
		for _, row := range []struct {
			fields string
			want   []string
		}{
			{``, []string{b1, a1, b2, a2}},
			{`"contextId":"a"`, []string{a1, a2}},
			{`"contextId":"none"`, nil},
			{`"status":"TASK_STATE_WORKING"`, []string{b1, a1}},
			{`"status":"TASK_STATE_SUBMITTED","contextId":"b"`, []string{b2}},
			{`"status":"TASK_STATE_FAILED"`, nil},
			{after(0), []string{b1}},
			{after(time.Microsecond), nil},
			{after(-time.Hour), []string{b1, a1, b2, a2}},
			{after(-time.Hour) + `,"contextId":"b","status":"TASK_STATE_WORKING"`, []string{b1}},
		} {
			p := w.list(t, row.fields)
			if diff := cmp.Diff(row.want, ids(p.Tasks)); diff != "" || p.TotalSize != len(row.want) {
				t.Errorf("{%s}: totalSize %d (-want +got):\n%s", row.fields, p.TotalSize, diff)
			}

			if len(row.want) > 1 {
				and := row.fields
				if and != "" {
					and += ","
				}
				tokens[and] = w.list(t, and+`"pageSize":1`).NextToken
			}
		}

		for from, token := range tokens {
			for to := range tokens {
				got := w.call(t, "ListTasks", "{"+to+`"pageToken":"`+token+`"}`)
				if from == to && got.Error != nil || from != to && (got.code() != -32602 || got.field() != "pageToken") {
					t.Errorf("the token of {%s} with {%s}: %s", from, to, got.body)
				}
			}
		}
	})
}

// The tasks of a list are counted at its first page. Later pages repeat the total, and a
// token from before tokens held it is still good.
func TestTotalIsCountedOnce(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		for i := range 5 {
			w.insert(anonymous, fmt.Sprint(i), a2a.TaskStateSubmitted)
		}
		first := w.list(t, `"pageSize":2`)
		w.insert(anonymous, "later", a2a.TaskStateSubmitted)
		second := w.list(t, `"pageSize":2,"pageToken":"`+first.NextToken+`"`)
		if first.TotalSize != 5 || second.TotalSize != 5 || len(second.Tasks) != 2 {
			t.Errorf("totals of the pages are %d and %d, want 5", first.TotalSize, second.TotalSize)
		}

		text, err := base64.RawURLEncoding.DecodeString(first.NextToken)
		if err != nil || !strings.Contains(string(text), `"n":5,`) {
			t.Fatalf("the token is %s, %v", text, err)
		}
		old := base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(text), `"n":5,`, "", 1)))
		if again := w.list(t, `"pageSize":2,"pageToken":"`+old+`"`); again.TotalSize != 6 || again.Tasks[0].ID != second.Tasks[0].ID {
			t.Errorf("with a token without a total: %d tasks in all, the first is %s, want %s", again.TotalSize, again.Tasks[0].ID, second.Tasks[0].ID)
		}
	})
}

// A count that would take too long is refused, and the error names the filter that makes it
// long.
func TestListThatCannotBeCounted(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t, func(c *front.Config) { c.Store = faulty.Refusing(c.Store, faulty.List, task.ErrCount) })
		w.refused(t, "ListTasks", `{"statusTimestampAfter":"2026-01-01T00:00:00Z"}`, -32602, "statusTimestampAfter")
	})
}

// A page that takes too long is refused, and the answer says how to ask for less.
func TestListThatIsSlow(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t, func(c *front.Config) { c.Store = faulty.Refusing(c.Store, faulty.List, task.ErrSlow) })
		got := w.call(t, "ListTasks", `{}`)
		if got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" || !strings.Contains(string(got.body), "pageSize") {
			t.Errorf("ListTasks answers %d %v %s, want 503 with a remedy", got.status, got.header, got.body)
		}
	})
}

// FuzzPageToken sends any token. It is refused unless this very list could give it.
func FuzzPageToken(f *testing.F) {
	w := newWorld(f)
	for i := range 3 {
		w.insert(anonymous, fmt.Sprint(i), a2a.TaskStateSubmitted)
	}

	// The letters and their order are part of the form of tokens.
	type token struct {
		A int64  `json:"a"`
		I string `json:"i"`
		N *int   `json:"n,omitempty"`
		L string `json:"l"`
	}

	decode := func(s string) (v token, err error) {
		text, err := base64.RawURLEncoding.DecodeString(s)
		if err == nil {
			err = json.Unmarshal(text, &v)
		}
		return v, err
	}

	encode := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}

	genuine := w.list(f, `"pageSize":1`).NextToken
	own, err := decode(genuine)
	if err != nil || encode(own) != genuine {
		f.Fatalf("%v: a token decodes to %+v", err, own)
	}

	negative := new(int)
	*negative = -1
	other := own
	other.L = "AAAAAAAAAAAA"

	for _, s := range []string{
		genuine, genuine + "=", genuine[:len(genuine)-1], strings.ToLower(genuine), "e30", "bnVsbA", "\x00", "💥",
		encode(other), encode(token{L: own.L}), encode(token{-1 << 63, "x", nil, own.L}), encode(token{1<<63 - 1, "\U0010ffff", new(int), own.L}),
		encode(token{own.A, own.I, negative, own.L}),
		encode(map[string]any{"a": own.A, "i": own.I, "l": own.L, "x": 1}), encode([]any{own}),
	} {
		f.Add(s)
	}

	f.Fuzz(func(t *testing.T, s string) {
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}

		got := w.call(t, "ListTasks", `{"pageSize":1,"pageToken":`+string(text)+`}`)
		if got.status != 200 {
			t.Fatalf("%q: status %d", s, got.status)
		}

		if got.Error != nil {
			if got.code() != -32602 || got.field() != "pageToken" || s == genuine {
				t.Errorf("%q: %s", s, got.body)
			}
			return
		}

		s = strings.ToValidUTF8(s, "\ufffd")
		if v, err := decode(s); s != "" && (err != nil || v.L != own.L || v.N != nil && *v.N < 0 || encode(v) != s) {
			t.Errorf("%q is no token of this list, and was taken", s)
		}
		if n := len(into[page](got).Tasks); n > 1 {
			t.Errorf("%q: %d tasks", s, n)
		}
	})
}

// Configs come in pages too.
//
// Shows P6.
func TestConfigsComeInPages(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		id := w.insert(anonymous, "m", a2a.TaskStateSubmitted).ID()
		var want, got []string
		for i := range 5 {
			want = append(want, fmt.Sprint("h", i))
			w.hook(t, id, `"id":"`+want[i]+`"`)
		}
		token, pages := "", 0
		for more := true; more; more = token != "" {
			var p configs
			p, token = w.configs(t, id, `,"pageSize":2,"pageToken":"`+token+`"`)
			got, pages = append(got, p.ids()...), pages+1
		}
		if diff := cmp.Diff(want, got); diff != "" || pages != 3 {
			t.Errorf("%d pages (-want +got):\n%s", pages, diff)
		}
		if all, token := w.configs(t, id, ""); !slices.Equal(all.ids(), want) || token != "" {
			t.Errorf("all of them: %v, token %q", all.ids(), token)
		}
	})
}
