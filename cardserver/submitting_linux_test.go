package main_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// openTerminal opens a terminal of 100 columns: what is written to inner, screen reads.
func openTerminal(t *testing.T) (screen, inner *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("there are no terminals here: %v", err)
	}
	t.Cleanup(func() { _ = screen.Close() })

	fd := int(screen.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 30, Col: 100})
	}
	if err == nil {
		inner, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = inner.Close() })
	return screen, inner
}

// readScreen reads all that a terminal shows, until its last writer has closed it.
func readScreen(screen *os.File) <-chan string {
	shown := make(chan string, 1)
	go func() {
		var text bytes.Buffer
		_, _ = text.ReadFrom(screen) // it ends in an error
		shown <- text.String()
	}()
	return shown
}

// A terminal shows a bar while the batch runs. The answers on standard output are free of it,
// and nothing of it is left when the command ends.
func TestBatchCommandShowsProgressInATerminal(t *testing.T) {
	t.Parallel()
	p := start(t)
	path, err := programs["cardserver"]()
	if err != nil {
		t.Fatal(err)
	}
	screen, inner := openTerminal(t)

	shown := readScreen(screen)

	const lines = 50
	var out bytes.Buffer
	cmd := exec.Command(path, "batch", manifest(t, lines), p.url())
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = t.TempDir(), []string{"HOME=/", "TERM=xterm", "LANG=C.UTF-8"}, &out, inner
	err = cmd.Run()
	_ = inner.Close()
	text := <-shown
	if err != nil {
		t.Fatalf("%v: %q", err, text)
	}
	answered(t, out.String(), lines)

	const erase = "\x1b[2K\r"
	for _, want := range []string{"sending", "0% |", "\x1b[0K", erase, "completed: 50 with an answer, 0 without\r\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("the terminal does not show %q: %q", want, text)
		}
	}
	if last := text[strings.LastIndex(text, erase):]; strings.Contains(last, "% |") {
		t.Errorf("a bar is left: %q", last)
	}

	// A terminal that understands no sequences shows none.
	screen, inner = openTerminal(t)
	shown = readScreen(screen)
	cmd = exec.Command(path, "batch", "-watch", batchIn.FindString(text), p.url())
	cmd.Dir, cmd.Env, cmd.Stderr = t.TempDir(), []string{"HOME=/", "TERM=dumb"}, inner
	err = cmd.Run()
	_ = inner.Close()
	if text := <-shown; err != nil || strings.Contains(text, "\x1b") {
		t.Errorf("a dumb terminal ends the command with %v, and shows %q", err, text)
	}
}
