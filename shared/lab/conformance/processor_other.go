//go:build !unix

package conformance

import "time"

var began = time.Now()

// Processor is the processor time that this process has used, at most: where nobody tells
// it is the time since the process began.
func Processor() time.Duration { return time.Since(began) }
