//go:build unix

package serve

import "syscall"

// mostFiles is how many connections the process may hold and still open its other files: at
// its start the Go runtime has raised the number of files to the most that the system lets
// it have.
func mostFiles() int {
	const others, least = 512, 64 // 256 deliveries and 32 turns of the local queue, the store's, files
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil || l.Cur > connections+others {
		return connections
	}
	return max(int(l.Cur)-others, least)
}
