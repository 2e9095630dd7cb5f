package batches

import (
	"context"
	"math"
	"time"

	"errand/shared/batch"
	"errand/worker/run"
)

// countFor bounds the counting of a sample: no line begins before.
const countFor = 2 * time.Second

// estimate has a sample of the lines counted that will run: copied ones have an answer already.
// If nobody counts it, there is no estimate, and the batch goes on.
func (w *work) estimate(ctx context.Context, found batch.Scanned, copied int) batch.Estimate {
	good := found.Lines - len(found.Bad)
	counter, counts := w.cfg.Items.(run.Counter)
	if !counts || good <= copied {
		return batch.Estimate{}
	}

	ctx, cancel := context.WithTimeout(ctx, countFor)
	defer cancel()
	each, sample, err := counter.Count(ctx, found.Sample)
	if err != nil {
		w.cfg.Log.WarnContext(ctx, "the input of a batch could not be estimated; it goes on without an estimate", "batch", w.id, "err", err)
		return batch.Estimate{}
	}

	part := float64(good-copied) / float64(good)
	e := batch.Estimate{Input: int64(math.Round(float64(found.Prompt(each, sample)) * part))}
	e.Nanos, e.Currency = counter.Price(e.Input)
	return e
}
