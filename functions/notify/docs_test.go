package notify

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// The numbers in docs/webhooks.md agree with the code.
func TestDocumentedLimits(t *testing.T) {
	text, err := os.ReadFile("../../docs/webhooks.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		fmt.Sprintf("| attempts of one owner at one host at a time, per process; all owners together have twice as many | %d |", perHost),
		fmt.Sprintf("| attempts at an origin that has not answered 2xx to this owner, per process | one at a time, one in %.0f s |", slowly.Seconds()),
		fmt.Sprintf("ones first, when there are %d,%03d of all owners", manyHosts/1000, manyHosts%1000),
		fmt.Sprintf("| the whole exchange | %.0f s |", attemptFor.Seconds()),
		fmt.Sprintf("after %d attempts in a row without any answer no delivery of the owner goes there for %.0f s", breakAfter, breakFor.Seconds()),
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("docs/webhooks.md does not say: %s", want)
		}
	}
}
