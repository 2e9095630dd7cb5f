//go:build !unix

package serve

// mostFiles is how many connections the process may hold: other systems do not bound the
// files of a process so low.
func mostFiles() int { return connections }
