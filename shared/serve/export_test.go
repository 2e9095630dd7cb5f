package serve

import "time"

// MostCompressing is how many answers wait for a compressor at most.
const MostCompressing = mostCompressing

// Compressing is how many answers wait for a compressor, or are in one.
func Compressing() int { return len(compressing) }

// TakeCompressors takes all compressors until they are given back.
func TakeCompressors() (giveBack func()) {
	pool := compressors()
	taken := make(chan struct{})
	for range cap(pool) {
		z := <-pool
		go func() {
			<-taken
			pool <- z
		}()
	}
	return func() { close(taken) }
}

// AtTime is c with another clock.
func (c *Certificates) AtTime(now func() time.Time) *Certificates {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = now
	return c
}
