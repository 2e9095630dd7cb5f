//go:build !unix

package conformance

import "time"

var began = time.Now()

// Processor returns an upper bound for the processor time that this process has used. This
// system does not report the processor time, so the bound is the time since the process began.
func Processor() time.Duration { return time.Since(began) }
