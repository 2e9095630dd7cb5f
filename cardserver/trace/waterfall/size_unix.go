//go:build unix

package waterfall

import (
	"os"

	"golang.org/x/sys/unix"
)

// Size returns the columns and lines of the terminal that a file is. ok is false if the file
// is no terminal.
func Size(f *os.File) (width, height int, ok bool) {
	s, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0, 0, false
	}
	return int(s.Col), int(s.Row), true
}
