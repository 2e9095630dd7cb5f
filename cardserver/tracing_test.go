package main_test

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

// The real program shows the trace of a task of the real agent: of one that has ended, of one
// that runs until it has ended, and of none that does not exist. The arguments of calls stand
// in no log.
func TestTraceCommand(t *testing.T) {
	p := start(t, "ERRAND_MODEL=standin:delay=1s")
	c := p.client()
	task := mustSend(t, c, immediately(userText("m1", `/tool clock {"zone":"canary/zone"}`)))

	out, errs, code := invoke(t, "trace", "-v", p.url(), string(task.ID))
	if code != 0 || !regexp.MustCompile(`(?s)^task \S+\ncompleted, .*1 turn, 1 run, 1 step\n.*run 1 +=+ .*step 1 +-+ .*clock +.*args   \{"zone":"canary/zone"\}.*result .*answer +-+ `).MatchString(out) {
		t.Errorf("ends with %d and says %s%s", code, out, errs)
	}
	if strings.ContainsFunc(out, func(r rune) bool { return r > '~' || r == '\x1b' }) {
		t.Errorf("not plain: %q", out)
	}
	again, _, code := invoke(t, "trace", "-v", "-f=false", p.url(), string(task.ID))
	if code != 0 || again != out {
		t.Errorf("ends with %d and says %s\nbefore it was %s", code, again, out)
	}

	_, errs, code = invoke(t, "trace", p.url(), string(task.ID[:len(task.ID)-1])+"x")
	if code != 1 || !strings.Contains(errs, "404") {
		t.Errorf("an unknown task: ends with %d and says %s", code, errs)
	}
	if res, err := http.Get(p.url() + "/tasks/" + string(task.ID) + "/trace"); err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("the trace: %v", err)
	} else {
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
	if done := until(t, c, task.ID, "terminal", terminal); done.Status.State != a2a.TaskStateCompleted {
		t.Errorf("task %+v", done.Status)
	}
	if strings.Contains(p.logged(), "canary") {
		t.Errorf("the log has arguments of a call: %s", p.logged())
	}
}
