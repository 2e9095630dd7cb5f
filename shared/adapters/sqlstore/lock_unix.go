//go:build unix

package sqlstore

import (
	"os"
	"syscall"
)

// tryLock takes the file for this process, without waiting. The kernel gives it
// back when the process ends, however it ends. flock(2) counts per open file, so
// it also keeps out a second Open in the same process.
func tryLock(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}

func isHeld(err error) bool { return err == syscall.EWOULDBLOCK }
