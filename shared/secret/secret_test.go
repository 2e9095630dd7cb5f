package secret_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"errand/shared/secret"
)

func TestNamesAreCheckedAndNotRepeated(t *testing.T) {
	for _, name := range []string{"api-key", "K", "n" + strings.Repeat("0", 254)} {
		if err := (secret.Ref{Name: name}).Check(); err != nil {
			t.Errorf("Check(%s) = %v", name, err)
		}
	}
	for _, name := range []string{"", "@", "api-key@7", "sk-live/+=", "projects/p/secrets/s", "n" + strings.Repeat("0", 255)} {
		err := secret.Ref{Name: name}.Check()
		if !errors.Is(err, secret.ErrName) {
			t.Errorf("Check(%s) = %v, want ErrName", name, err)
		}
		if err != nil && len(name) > 3 && strings.Contains(err.Error(), name) {
			t.Errorf("%q repeats the name, which may be the secret", err)
		}
	}
}

func TestTextIsWithoutTheNewlineOfAFile(t *testing.T) {
	v, err := secret.NewValue([]byte(" key\r\n"))
	if err != nil || v.Text() != "key" || v.Reveal() != " key\r\n" {
		t.Errorf("Text %q, Reveal %q, %v", v.Text(), v.Reveal(), err)
	}
	if zero := (secret.Value{}); zero.Text() != "" {
		t.Errorf("the zero value is %q", zero.Text())
	}
}

// A source counts its calls, and answers as the test sets it.
type source struct {
	mu    sync.Mutex
	asked int
	slow  time.Duration
	say   string
	err   error
}

func (s *source) Get(context.Context, secret.Ref) (secret.Value, error) {
	time.Sleep(s.slow)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.err != nil {
		return secret.Value{}, s.err
	}
	return secret.NewValue([]byte(s.say))
}

func (s *source) set(say string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.say, s.err = say, err
}

func TestCacheAsksAgainWhenTheValueIsOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := &source{say: "old"}
		c := &secret.Cache{From: from}
		down := errors.New("down")

		for _, step := range []struct {
			after time.Duration // since the last step
			say   string
			err   error
			want  string // empty: an error
			asked int
		}{
			{0, "old", nil, "old", 1},
			{5*time.Minute - 1, "new", nil, "old", 1},
			{1, "new", nil, "new", 2},
			{59 * time.Minute, "", down, "new", 3}, // an outage: the old one does
			{1 * time.Minute, "", down, "", 4},     // but not for ever
			{0, "newer", nil, "newer", 5},
			{5 * time.Minute, "", secret.ErrNotFound, "", 6}, // disabled: gone at once
			{0, "", down, "", 7},
		} {
			time.Sleep(step.after)
			from.set(step.say, step.err)

			got, err := c.Get(t.Context(), secret.Ref{Name: "key"})
			if got.Reveal() != step.want || (err == nil) != (step.want != "") {
				t.Errorf("%+v: got %q, %v", step, got.Reveal(), err)
			}
			if err != nil && !errors.Is(err, step.err) {
				t.Errorf("%+v: error %v", step, err)
			}
			if from.asked != step.asked {
				t.Errorf("%+v: asked %d times", step, from.asked)
			}
		}
	})
}

func TestCacheAsksOnceForMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := &source{say: "value", slow: time.Second}
		c := &secret.Cache{From: from}
		var all sync.WaitGroup
		first, leave := context.WithCancel(t.Context())
		all.Go(func() {
			if _, err := c.Get(first, secret.Ref{Name: "key"}); !errors.Is(err, context.Canceled) {
				t.Errorf("Get of one that left = %v", err)
			}
		})

		synctest.Wait()
		for range 10 {
			all.Go(func() {
				if got, err := c.Get(t.Context(), secret.Ref{Name: "key"}); err != nil || got.Reveal() != "value" {
					t.Errorf("Get = %q, %v", got.Reveal(), err)
				}
			})
		}

		synctest.Wait()
		leave() // the others still get theirs
		all.Wait()
		if from.asked != 1 {
			t.Errorf("asked %d times, want once", from.asked)
		}
	})
}

func TestCacheIsBounded(t *testing.T) {
	from := &source{say: "value"}
	c := &secret.Cache{From: from}
	for i := range 1001 {
		if _, err := c.Get(t.Context(), secret.Ref{Name: "key" + strconv.Itoa(i)}); err != nil {
			t.Fatal(err)
		}
	}
	asked := from.asked
	if _, err := c.Get(t.Context(), secret.Ref{Name: "key0"}); err != nil || from.asked == asked {
		t.Errorf("the first of 1001 is still kept: %v", err)
	}
}
