package batches

import "context"

// copied knows the lines of a batch that an earlier one has answered.
type copied struct{}

func (c *copied) has(line int) bool { return false }

func (w *work) copies(ctx context.Context, n int) (map[string][]byte, error) { return nil, nil }
