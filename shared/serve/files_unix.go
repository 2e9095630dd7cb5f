//go:build unix

package serve

import "syscall"

// mostFiles is how many connections the process may hold and still open its other files: at
// its start the Go runtime has raised the number of files to the most that the system lets
// it have.
func mostFiles() int {
	const others, least = 256, 64 // the store's, connections to services and receivers
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil || l.Cur > connections+others {
		return connections
	}
	return max(int(l.Cur)-others, least)
}
