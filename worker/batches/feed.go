package batches

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"golang.org/x/sync/errgroup"

	"errand/shared/batch"
	"errand/shared/desk"
	"errand/shared/task"
	"errand/worker/run"
)

// Limits of feeding.
const (
	side      = 16      // items made, ended or read at once
	somLines  = 256     // lines read before their items are made
	someBytes = 4 << 20 // bytes of these lines
)

// feed makes the items of the next lines, as many as may be open (R19b). The cursor moves over
// lines whose records are durable. wait is how long no item may begin, because the owner's
// tokens of the day are used up.
func (w *work) feed(ctx context.Context) (wait time.Duration, err error) {
	room := w.room()
	if room <= 0 || w.st.Fed == w.st.Lines {
		return 0, nil
	}

	wait, err = w.cfg.Wait(ctx, w.r.Owner)
	if err != nil {
		w.cfg.Log.WarnContext(ctx, "the tokens of the day are not known; the batch goes on", "batch", w.id, "err", err)
	}
	if wait > 0 {
		return wait, nil
	}

	for room > 0 && w.st.Fed < w.st.Lines {
		// No run makes items far behind the stored cursor. So one that ends the batch knows
		// which lines may have begun.
		if w.st.Fed >= w.saved.Fed+batch.MaxOpen {
			if err := w.save(ctx); err != nil {
				return 0, err
			}
		}
		n, err := w.feedSome(ctx, min(room, w.saved.Fed+batch.MaxOpen-w.st.Fed, somLines))
		if err != nil {
			return 0, err
		}
		room -= n
	}
	return 0, nil
}
