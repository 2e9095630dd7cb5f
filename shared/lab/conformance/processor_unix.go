//go:build unix

package conformance

import (
	"syscall"
	"time"
)

// Processor returns the processor time that this process has used. Unlike bounds on the
// clock, bounds on it hold on a busy machine.
func Processor() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // fails only with a wrong argument
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
