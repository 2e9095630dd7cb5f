package webhook

// The parts of Prepare that tests of receivers use alone.
var (
	Sign  = sign
	Token = token
)

// TokenAge is the lifetime of a token.
const TokenAge = tokenAge
