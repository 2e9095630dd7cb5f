package tools

import (
	"errors"
	"fmt"
	"time"
)

// A Wait is the error of a call that ended without a result, to be begun again with the same
// key. It is made by [Later] and [Wake], and found with errors.As.
type Wait struct {
	At   time.Time // when the call is begun again
	Told bool      // or as soon as the URL Wake of its Info is called
}

// Later returns an error by which a tool ends the run: the call is begun again at that time,
// with the same arguments and the same key. Until then it holds no worker. A time that has
// passed means soon. The calls beside it keep their results.
//
//	return "", tools.Later(time.Now().Add(time.Hour))
func Later(at time.Time) error { return &Wait{At: at} }

// Wake is as [Later], but the call is also begun again as soon as the URL Wake of its [Info]
// is called with POST. The call learns nothing from the POST: it looks again, with its
// key, whether its wait is over. A POST before the call waits is not lost.
func Wake(until time.Time) error { return &Wait{At: until, Told: true} }

// Error implements error.
func (w *Wait) Error() string {
	how := "at "
	if w.Told {
		how = "when told, at the latest at "
	}
	return fmt.Sprint("the call is to be begun again ", how, w.At.UTC().Format(time.RFC3339))
}

// waitIn returns the Wait that an error holds, or nil.
func waitIn(err error) *Wait {
	var w *Wait
	if errors.As(err, &w) {
		return w
	}
	return nil
}
