package waterfall

import (
	"os"

	"golang.org/x/sys/windows"
)

// Size returns the columns and lines of the terminal that a file is. ok is false if the file
// is no terminal.
func Size(f *os.File) (width, height int, ok bool) {
	var s windows.ConsoleScreenBufferInfo
	if windows.GetConsoleScreenBufferInfo(windows.Handle(f.Fd()), &s) != nil {
		return 0, 0, false
	}
	return int(s.Window.Right-s.Window.Left) + 1, int(s.Window.Bottom-s.Window.Top) + 1, true
}
