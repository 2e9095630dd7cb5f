package egress

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// The numbers of docs/webhooks.md are those of the code.
func TestDocumentedLimits(t *testing.T) {
	text, err := os.ReadFile("../../docs/webhooks.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		fmt.Sprintf("| from the name to a connection | %.0f s |", connectTimeout.Seconds()),
		fmt.Sprintf("of at most %d bytes, on port %d or %d,", maxURL, publicPorts[0], publicPorts[1]),
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("docs/webhooks.md does not say: %s", want)
		}
	}
	for _, domain := range inner {
		if !strings.Contains(string(text), "`"+domain+"`") && !strings.Contains(string(text), "`."+domain+"`") {
			t.Errorf("docs/webhooks.md does not say that %s is refused", domain)
		}
	}
}
