package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/auth"
)

// A turn of a caller whose tokens of the day are used up waits, and says why. The first
// message was begun before, so it is answered.
func TestTokensPerDayAreUsedUp(t *testing.T) {
	on(t, func(t *testing.T, start starter) {
		key, hash := auth.NewKey()
		access := filepath.Join(t.TempDir(), "access.yaml")
		text := "principals: [{name: acme/ci, keys: ['" + hash + "'], limits: {tokensPerDay: 1}}]"
		if err := os.WriteFile(access, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		model := newSlowModel(t)
		d := start(t, "ERRAND_ACCESS="+access, "GEMINI_API_KEY=k", "ERRAND_MODEL=gemini:m@"+model.URL)
		c := keyed(t, d, key)

		task := mustSend(t, c, immediately(userText("m1", "slow first")))
		model.await(t, 1)
		more := immediately(userText("m2", "second"))
		more.Message.TaskID = task.ID
		mustSend(t, c, more)
		close(model.release)

		waiting := until(t, c, task.ID, "waiting for tomorrow", func(task *a2a.Task) bool {
			m := task.Status.Message
			return m != nil && strings.Contains(m.Parts[0].Text(), "tokensPerDay")
		})
		if waiting.Status.State != a2a.TaskStateWorking || len(waiting.Artifacts) != 1 || len(model.began) != 0 {
			t.Errorf("%s with %d artifacts, and the model was asked %d more messages", waiting.Status.State, len(waiting.Artifacts), len(model.began))
		}
		for end := time.Now().Add(time.Minute); !strings.Contains(d.logged(), "turn parked"); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("the log does not say that the turn is parked:\n%s", tail(d.logged(), 4<<10))
			}
		}
	})
}
