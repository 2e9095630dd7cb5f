package limits

import (
	"fmt"
	"sync"
	"time"

	"errand/shared/auth"
	"errand/shared/task"
)

// A look is what the store said about an owner, and what has been admitted since. It is good
// for a second, and for a tenth of what was left. So a process passes a limit by a tenth of
// the rest at most, and several processes by as much each.
type look struct {
	mu      sync.Mutex
	began   time.Time // of the minute in which seen counts
	seen    int       // messages in that minute
	passed  int       // messages without a look since the last one
	refused bool      // by the last verdict

	at      time.Time // of the look; zero: none
	held    task.Holding
	since   int     // messages admitted since
	drained float64 // tasks that ended in a second, between the last two looks
}

const (
	goodFor = time.Second
	few     = 4 // messages in a minute for which the store is not asked, and between two looks
)

// passes counts a message, and reports whether it is admitted without a look. An owner that
// sends little is looked at for each fifth message, and for each one after a refusal. So it
// passes a limit by four messages at most.
func (k *look) passes(now time.Time) bool {
	if now.Sub(k.began) >= time.Minute {
		k.began, k.seen = now, 0
	}
	k.seen++
	if k.refused || k.seen > few || k.passed >= few {
		return false
	}
	k.passed++
	k.since++
	return true
}

// due reports whether a message needs a new look.
func (k *look) due(now time.Time, waiting int64) bool {
	return now.Sub(k.at) >= goodFor || int64(k.since) >= max(1, (waiting-int64(k.held.Waiting))/10)
}

// saw keeps what the store said.
func (k *look) saw(now time.Time, held task.Holding) {
	if passed := now.Sub(k.at).Seconds(); !k.at.IsZero() && passed > 0 {
		k.drained = max(0, float64(k.held.Waiting+k.since-held.Waiting)/passed)
	}
	k.at, k.held, k.since, k.passed = now, held, 0, 0
}

// verdict admits a message, or refuses it.
func (k *look) verdict(most auth.Limits) error {
	err := k.check(most)
	if k.refused = err != nil; err == nil {
		k.since++
	}
	return err
}

func (k *look) check(most auth.Limits) error {
	if waiting := int64(k.held.Waiting + k.since); waiting >= most.Waiting {
		const least, longest = time.Second, time.Minute
		after := longest
		if k.drained > 0 {
			after = min(max(time.Duration(10/k.drained*float64(time.Second)), least), longest)
		}
		return auth.Limited("waiting", after.Round(time.Second), fmt.Sprintf("%d of your tasks wait or run, and no more may; wait for some of them, or cancel some", most.Waiting))
	}
	if k.held.Bytes >= most.Stored {
		return auth.Limited("stored", time.Minute, fmt.Sprintf("your tasks and files take %d bytes of the %d that they may; delete some with DELETE /tasks/{id} and DELETE /files/{id}", k.held.Bytes, most.Stored))
	}
	return nil
}
