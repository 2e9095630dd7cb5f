package conformance

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// Require skips a test that needs something this machine does not have, and says how
// to get it. ERRAND_TEST_REQUIRE names what must be there: without it the test fails.
func Require(t testing.TB, name string, found bool, remedy string) {
	t.Helper()
	switch {
	case found:
	case slices.Contains(strings.Split(os.Getenv("ERRAND_TEST_REQUIRE"), ","), name):
		t.Fatalf("%s is required and missing: %s", name, remedy)
	default:
		t.Skipf("left out, because %s is missing: %s", name, remedy)
	}
}
