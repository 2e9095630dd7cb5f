package limits_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"errand/shared/auth"
	"errand/shared/desk"
	"errand/shared/limits"
)

// Files and tasks share the limit of stored bytes.
func TestStoredFiles(t *testing.T) {
	of := none
	of.Stored = 20_000
	b := newBench(t, of)
	held, asked := map[string]int64{}, 0
	var broken error
	b.limits = limits.New(limits.Config{
		Of: func(string) auth.Limits { return b.of }, Holder: b, Now: func() time.Time { return b.now },
		Files: func(_ context.Context, owner string) (int64, error) {
			asked++
			return held[owner], broken
		},
	})
	b.desk = desk.New(desk.Config{Store: b.w.Store, Queue: b.w.Jobs, Rules: b.w.Rules, Now: b.w.Now, Log: b.w.Log, Room: b.limits.Admit})

	send := func(owner string) (err error) {
		for range 6 { // the store is asked for the fifth message at the latest
			if _, err = b.send(owner); err != nil {
				return err
			}
		}
		return nil
	}

	left, err := b.limits.ForFiles(t.Context(), "a")
	if err != nil || left != of.Stored {
		t.Errorf("without tasks: %d, %v", left, err)
	}
	if err := send("a"); err != nil {
		t.Fatal(err)
	}
	if left, err = b.limits.ForFiles(t.Context(), "a"); err != nil || left < 1 || left > of.Stored-6000 {
		t.Errorf("beside 6 tasks of 1,000 bytes: %d, %v", left, err)
	}

	held["a"] = left + 1
	b.now = b.now.Add(time.Second)
	b.refusal(send("a"), "stored")
	if err := send("b"); err != nil {
		t.Errorf("another owner: %v", err)
	}

	broken = errors.New("broken")
	b.now = b.now.Add(time.Second)
	if err := send("a"); err != nil {
		t.Errorf("a limit that cannot be checked: %v", err)
	}

	b.of.Stored = auth.None
	before := asked
	if err := send("c"); err != nil || asked != before {
		t.Errorf("without a limit files are counted %d times, %v", asked-before, err)
	}
	if left, err := b.limits.ForFiles(t.Context(), "a"); err != nil || left != auth.None {
		t.Errorf("without a limit: %d, %v", left, err)
	}
}
