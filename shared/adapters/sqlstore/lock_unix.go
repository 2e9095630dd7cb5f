//go:build unix

package sqlstore

import (
	"os"
	"syscall"
)

// tryLock locks the file for this process, without waiting. The kernel releases the lock
// when the process ends, even by a kill. flock(2) locks an open file, so it also refuses a
// second Open in the same process.
func tryLock(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}

func isHeld(err error) bool { return err == syscall.EWOULDBLOCK }
