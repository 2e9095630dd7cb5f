package webhook_test

import (
	"net/http"
	"testing"
	"time"

	"errand/shared/task"
	"errand/shared/webhook"
)

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// Ten thousand notifications wait for one receiver. Each comes back after as long again as it has
// waited, with some jitter: over the whole schedule less than twice as often as there are
// attempts, and in the last third of the schedule hardly at all.
func TestLaterFallsOffWithAge(t *testing.T) {
	const notes, soonest = 10_000, 10 * time.Second
	s := webhook.Standard()
	bounds := []struct {
		within time.Duration
		most   int // looks at one notification
	}{{time.Minute, 4}, {5 * time.Minute, 7}, {time.Hour, 10}, {24 * time.Hour, 15}, {75 * time.Hour, 18}}

	for range notes {
		looks, now := 0, noon
		for _, b := range bounds {
			for now.Sub(noon) < b.within {
				next := s.Later(noon, now, now.Add(soonest))
				if wait, age := next.Sub(now), now.Sub(noon); wait < max(soonest, min(age, 24*time.Hour)) || wait > max(soonest, min(age, 24*time.Hour))*6/5 {
					t.Fatalf("Later at the age of %v = %v, want it and up to a fifth more", age, wait)
				}
				now, looks = next, looks+1
			}

			if looks > b.most {
				t.Fatalf("%d looks within %v, want %d at most", looks, b.within, b.most)
			}
		}
	}

	all := map[time.Time]bool{}
	for range 1000 {
		all[s.Later(noon, noon.Add(time.Hour), noon.Add(time.Hour+soonest))] = true
	}

	if len(all) < 990 {
		t.Errorf("1000 notes of one age come back at %d times", len(all))
	}
}

// A notification is over after twice the time of the schedule. No receiver can stretch the schedule
// so far.
func TestOver(t *testing.T) {
	s := webhook.Standard()
	const twice = 2 * (75*time.Hour + 35*time.Minute + 5*time.Second)
	for age, want := range map[time.Duration]bool{0: false, 75 * time.Hour: false, twice: false, twice + 1: true, -time.Hour: false} {
		if got := s.Over(noon, noon.Add(age)); got != want {
			t.Errorf("Over at the age of %v = %v, want %v", age, got, want)
		}
	}

	slow := webhook.Answer{Status: http.StatusTooManyRequests, RetryAfter: "3600000"} // a thousand hours
	r := oneNotification(noon)
	h, now := r.Webhooks[0], noon
	for h.State == task.WebhookActive {
		now = h.Next
		h = webhook.Judge(r, h, slow, s, now).After
	}

	if h.Attempt != len(s) {
		t.Errorf("given up after %d attempts, want %d", h.Attempt, len(s))
	}
	if longest := now.Sub(noon); longest > twice+time.Hour {
		t.Errorf("a receiver can stretch the schedule to %v", longest)
	}
}
