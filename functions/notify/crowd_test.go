package notify_test

import (
	"fmt"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/lab/conformance"
	"errand/shared/task"
)

// Many tasks have one dead receiver, and their cost falls with their age. Up to any time a
// task has two to three times as many jobs as scheduled attempts. It has about as many
// commits as jobs: one for the sweep and one for the new time. The process keeps nothing in
// memory for a waiting task. In the end every notification was tried at least once and given up.
func TestCrowdAtADeadHost(t *testing.T) {
	tasks := conformance.Long(40, 80, 200)

	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.client.on(urlA, hangs)
		ids := numbered("t", tasks)
		w.owing(urlA, 1, ids...)
		before := runtime.NumGoroutine()
		stop := w.sweeps(time.Minute)
		start := time.Now()

		for _, id := range ids {
			w.event(id, 0)
		}

		for _, c := range []struct {
			at   time.Duration
			own  float64 // scheduled attempts until then
			most float64 // jobs per task
		}{
			{5 * time.Minute, 3, 9}, {time.Hour, 4, 13}, {6 * time.Hour, 5, 17}, {24 * time.Hour, 7, 20}, {75 * time.Hour, 10, 24},
		} {
			time.Sleep(time.Until(start.Add(c.at)))
			loads, commits := w.counted.used()
			jobs, attempts := w.brought(), len(w.client.ids(urlA))
			t.Logf("%v: for a task %.1f jobs, %.1f reads, %.1f commits, %.1f attempts; by the schedule %v attempts", c.at, jobs/float64(tasks),
				float64(loads)/float64(tasks), float64(commits)/float64(tasks), float64(attempts)/float64(tasks), c.own)
			if most := c.most * float64(tasks); jobs > most || float64(commits) > 2*most || float64(loads) > 3*most {
				t.Errorf("%v: more than %v jobs a task, or more than two commits or three reads for each", c.at, c.most)
			}
			if n := runtime.NumGoroutine() - before; n > tasks*3/4 { // other tests may have some, too
				t.Errorf("%v: %d goroutines for tasks that wait", c.at, n)
			}
		}

		stop()

		stop = w.sweeps(10 * time.Minute)
		time.Sleep(time.Until(start.Add(twice + 48*time.Hour)))
		stop()

		for _, id := range ids {
			if h := w.hook(id, "h"); h.State != task.WebhookDead || h.Attempt == 0 || h.Attempt > 10 {
				t.Errorf("%s in the end: %+v", id, h)
			}
		}
	})
}

// brought is the number of jobs that were enqueued for tasks.
func (w *world) brought() (n float64) {
	for _, job := range w.Jobs.All() {
		if job.Task != "" {
			n++
		}
	}
	return n
}

// A crowd keeps a slow receiver busy. No task waits as if the receiver were dead, and each
// task is put off a few times at most.
func TestCrowdAtASlowHost(t *testing.T) {
	for _, c := range []struct {
		takes time.Duration
		tasks int
	}{{time.Second, 1500}, {10 * time.Second, 600}} {
		tasks := conformance.Long(c.tasks/5, c.tasks/2, c.tasks)

		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.client.on(urlA, func(req *http.Request) (*http.Response, error) {
				time.Sleep(c.takes)
				return status(http.StatusOK), nil
			})

			ids := numbered("t", tasks)
			w.owing(urlA, 1, ids...)
			stop := w.sweeps(time.Minute)
			start := time.Now()
			for _, id := range ids {
				w.event(id, 0)
			}

			ideal := c.takes * time.Duration(tasks) / 8
			time.Sleep(ideal + ideal/3 + 3*time.Minute)
			sent := w.client.calls(urlA)
			if len(sent) != tasks {
				t.Errorf("%v: %d of %d were sent within %v, where %v would do", c.takes, len(sent), tasks, time.Since(start), ideal)
			}

			_, commits := w.counted.used()
			t.Logf("%v: the last one after %v, where %v would do; %.1f commits a task", c.takes, sent[len(sent)-1].at.Sub(start), ideal, float64(commits)/float64(tasks))
			if commits > 8*tasks {
				t.Errorf("%v: %d commits for %d tasks", c.takes, commits, tasks)
			}

			stop()
		})
	}
}

// An owner has webhooks at many hosts, each of them slow, so that no host and no breaker
// limits them. Half of the slots stay free, another owner's webhook is sent at once, and in
// the end all of the first owner's are sent.
func TestCrowdAtManyHosts(t *testing.T) {
	tasks := conformance.Long(600, 1200, 3000)

	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var running, most atomic.Int32
		own := func(owner, id, url string) {
			w.acceptOf(owner, id, task.Webhook{ID: "h", URL: url})
			w.finish(id, a2a.TaskStateCompleted, "")
			w.notify.Know(owner, url)
		}

		for i := range tasks {
			url := fmt.Sprintf("https://host%d.example.com/hook", i)
			w.client.on(url, func(*http.Request) (*http.Response, error) {
				most.Store(max(most.Load(), running.Add(1)))
				defer running.Add(-1)
				time.Sleep(14 * time.Second)
				return status(http.StatusOK), nil
			})
			own("many", fmt.Sprint("m", i), url)
		}

		stop := w.sweeps(time.Minute)
		for i := range tasks {
			w.event(fmt.Sprint("m", i), 0)
		}
		synctest.Wait()

		for i := range 20 {
			id := fmt.Sprint("q", i)
			own("quiet", id, urlA)
			asked := time.Now()
			w.event(id, 0)
			synctest.Wait()
			sent := w.client.calls(urlA)
			if len(sent) != i+1 || !sent[i].at.Equal(asked) {
				t.Fatalf("of %d webhooks of the quiet owner %d were sent at once", i+1, len(sent))
			}
			time.Sleep(time.Second)
		}

		time.Sleep(time.Duration(tasks/256+2) * 2 * time.Minute)
		stop()
		for i := range tasks {
			if h := w.hook(fmt.Sprint("m", i), "h"); h.Cursor == 0 || h.Attempt > 0 {
				t.Fatalf("webhook %d in the end: %+v", i, h)
			}
		}
		if most.Load() != 256 {
			t.Errorf("%d attempts of one owner at once, want 256", most.Load())
		}
	})
}
