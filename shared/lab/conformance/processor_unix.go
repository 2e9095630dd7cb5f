//go:build unix

package conformance

import (
	"syscall"
	"time"
)

// Processor is the processor time that this process has used. Bounds on it hold however
// busy the machine is, where bounds on the clock do not.
func Processor() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // only a wrong argument is refused
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
