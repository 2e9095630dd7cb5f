package turn_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
	"github.com/google/go-cmp/cmp"

	"errand/shared/lab/faulty"
	"errand/shared/task"
	"errand/worker/turn"
)

// A scene is an executor that makes its events at times of a simulated clock.
type scene struct {
	ec    *a2asrv.ExecutorContext
	yield func(a2a.Event, error) bool
	begun map[a2a.ArtifactID]bool
}

// after waits.
func (s *scene) after(d time.Duration) *scene {
	time.Sleep(d)
	return s
}

// text makes a piece of an artifact.
func (s *scene) text(id a2a.ArtifactID, said string) *scene {
	ev := a2a.NewArtifactUpdateEvent(s.ec, id, task.TextPart(said))
	ev.Append, s.begun[id] = s.begun[id], true
	s.yield(ev, nil)
	return s
}

// status makes a status message.
func (s *scene) status(said string) *scene {
	s.yield(a2a.NewStatusUpdateEvent(s.ec, a2a.TaskStateWorking, a2a.NewMessage(a2a.MessageRoleAgent, task.TextPart(said))), nil)
	return s
}

// A timed bench notes when its store gets a commit, and what a reader has from then on.
type timed struct {
	*bench
	mu      sync.Mutex
	began   time.Time // of the scene
	commits []string
}

// play runs a turn of a scene.
func play(t *testing.T, pace turn.Pace, scenes func(*scene)) *timed {
	b := &timed{bench: newBench(t, nil)}
	store := faulty.Store{Store: b.Store, After: func(c faulty.Call, r task.Record, err error) (task.Record, error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if c.Op == faulty.Commit && err == nil && !b.began.IsZero() {
			b.commits = append(b.commits, fmt.Sprint(time.Since(b.began), " ", shown(r)))
		}
		return r, err
	}}

	b.configure(execute(func(_ context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		b.mu.Lock()
		b.began = time.Now()
		b.mu.Unlock()
		scenes(&scene{ec: ec, yield: yield, begun: map[a2a.ArtifactID]bool{}})
		yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateCompleted, nil), nil)
	}), func(c *turn.Config) { c.Store, c.Pace = store, pace })
	return b
}

// shown is what a reader of the record sees: its artifacts and its status.
func shown(r task.Record) string {
	var words []string
	for _, text := range texts(r.Task) {
		if len(text) > 40 {
			text = fmt.Sprintf("%.4s..%d", text, len(text))
		}
		words = append(words, text)
	}
	if m := r.Task.Status.Message; m != nil {
		words = append(words, "("+m.Parts[0].Text()+")")
	}
	if r.Terminal() {
		words = append(words, "end")
	}
	return strings.Join(words, " ")
}

// Events are committed soon, together with those until then, and no more often than their pace
// says. The end of a turn waits for nothing.
func TestClientsRow07Pace(t *testing.T) {
	statuses := func(s *scene) {
		for i := range 4 {
			s.status(fmt.Sprint(i)).after(80 * time.Millisecond)
		}
	}
	between := func(s *scene) {
		s.text("a", "x").after(100*time.Millisecond).text("a", "y").after(20*time.Millisecond).status("look").after(time.Second).text("a", "z").after(time.Second)
	}
	artifacts := func(s *scene) {
		s.text("a", "one").after(80*time.Millisecond).text("b", "two").after(80*time.Millisecond).text("c", "three").after(80 * time.Millisecond)
	}
	large := func(s *scene) {
		for range 4 {
			s.text("a", strings.Repeat("x", 128<<10)).after(700 * time.Millisecond)
		}
	}

	for _, tt := range []struct {
		name string
		pace turn.Pace
		play func(*scene)
		want []string
	}{
		{"an instant answer", turn.PaceOwn, func(s *scene) { s.text("a", "x").text("a", "y") }, []string{"0s xy end"}},
		{"a short one", turn.PaceShared, func(s *scene) { s.text("a", "x").after(70*time.Millisecond).text("a", "y") }, []string{"70ms xy end"}},
		{"statuses", turn.PaceOwn, statuses, []string{"75ms (0)", "155ms (1)", "235ms (2)", "315ms (3)", "320ms end"}},
		{"statuses", turn.PaceShared, statuses, []string{"75ms (0)", "320ms end"}},
		{"a status in a text", turn.PaceOwn, between, []string{"75ms x", "195ms xy (look)", "1.195s xyz (look)", "2.12s xyz end"}},
		{"a status in a text", turn.PaceShared, between, []string{"75ms x", "1.075s xy (look)", "2.075s xyz (look)", "2.12s xyz end"}},
		{"artifacts", turn.PaceOwn, artifacts, []string{"75ms one", "155ms one two", "235ms one two three", "240ms one two three end"}},
		{"a large record", turn.PaceOwn, large, []string{"75ms xxxx..131072", "775ms xxxx..262144", "1.475s xxxx..393216", "2.175s xxxx..524288", "2.8s xxxx..524288 end"}},
		{"a large record", turn.PaceShared, large, []string{"75ms xxxx..131072", "2.8s xxxx..524288 end"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := play(t, tt.pace, tt.play)
				b.deliver(b.send("m", "hello", "").ID(), "job", 0)
				if diff := cmp.Diff(tt.want, b.commits); diff != "" {
					t.Errorf("commits of the run (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// The writes of a text of three seconds, a piece every 20 ms, and of an instant answer. The accept
// and the claim are two of them.
func TestWritesOfAText(t *testing.T) {
	text := func(s *scene) {
		for range 150 {
			s.text("a", "word ").after(20 * time.Millisecond)
		}
	}

	for _, tt := range []struct {
		name string
		pace turn.Pace
		play func(*scene)
		want int // the end included
	}{
		{"on a store of this process", turn.PaceOwn, text, 2 + 12 + 1},
		{"on a shared store", turn.PaceShared, text, 2 + 3 + 1},
		{"an instant answer", turn.PaceOwn, func(s *scene) { s.text("a", "Done.") }, 2 + 1},
		{"an instant answer on a shared store", turn.PaceShared, func(s *scene) { s.text("a", "Done.") }, 2 + 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := play(t, tt.pace, tt.play)
				b.deliver(b.send("m", "hello", "").ID(), "job", 0)
				if got := 2 + len(b.commits); got != tt.want {
					t.Errorf("%d writes, want %d: %v", got, tt.want, b.commits)
				}
			})
		})
	}
}

// Whatever an executor makes first is at every stream and poll 100 ms later, on every store, and
// each status is on SQLite.
func TestProgressIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, pace := range map[string]turn.Pace{"own": turn.PaceOwn, "shared": turn.PaceShared} {
			b := play(t, pace, func(s *scene) {
				s.text("a", "one").after(500 * time.Millisecond).status("two").after(time.Second)
			})
			id := b.send("m", "hello", "").ID()
			ended := b.delivered(id, "job", 0)

			var mu sync.Mutex
			streamed := ""
			go func() {
				for r, err := range b.Store.Watch(t.Context(), id) {
					if err != nil {
						return
					}
					mu.Lock()
					streamed = shown(r)
					mu.Unlock()
				}
			}()

			seen := func(want string) {
				t.Helper()
				synctest.Wait()
				mu.Lock()
				defer mu.Unlock()
				if got := shown(b.Load(id)); got != want || streamed != want {
					t.Errorf("%s: a poll sees %q, a stream %q, want %q", name, got, streamed, want)
				}
			}

			time.Sleep(100 * time.Millisecond)
			seen("one")
			if pace == turn.PaceOwn {
				time.Sleep(500 * time.Millisecond)
				seen("one (two)")
			}
			ended()
		}
	})
}
