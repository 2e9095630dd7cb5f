package keys

import (
	"bytes"
	"crypto/elliptic"
	"testing"
)

// No key of a ring that could be found makes the counter move, so the test gives the
// candidates.
func TestScalarPassesOverWhatIsNoPrivateKey(t *testing.T) {
	one := append(make([]byte, 31), 1)
	candidates := [][]byte{make([]byte, 32), elliptic.P256().Params().N.Bytes(), bytes.Repeat([]byte{0xff}, 32), one}
	key := scalar(func(i int) []byte { return candidates[i] })
	if got, err := key.Bytes(); err != nil || !bytes.Equal(got, one) {
		t.Errorf("scalar = %x, %v, want the fourth candidate", got, err)
	}
}
