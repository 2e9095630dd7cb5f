package sqlstore

import (
	"os"

	"golang.org/x/sys/windows"
)

// tryLock locks the file for this process, without waiting. The system releases the lock
// when the process ends, even by a kill.
func tryLock(f *os.File) error {
	return windows.LockFileEx(windows.Handle(f.Fd()),
		windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, new(windows.Overlapped))
}

func isHeld(err error) bool { return err == windows.ERROR_LOCK_VIOLATION }
