package auth

// WithChecksum completes a made-up key.
func WithChecksum(body string) string { return body + checksum(body) }

// ParseToken reads a token without believing it.
func ParseToken(raw string) error {
	_, err := parseToken(raw, false)
	return err
}

// AttemptNames is the number of names in the table of attempts after n wrong ones by
// different names.
func AttemptNames(n int, name func(int) string, c *Access) int {
	for i := range n {
		c.attempts.wrong(c.now(), name(i))
	}
	return len(c.attempts.young) + len(c.attempts.old)
}

// Hang makes readings of the file wait for a channel.
func Hang(a *Access, until <-chan struct{}) {
	read := a.content
	a.content = func() ([]byte, error) {
		<-until
		return read()
	}
}
