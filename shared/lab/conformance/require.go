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

// Full reports whether ERRAND_TEST_FULL=1 asks for the long proofs. Without it a long
// proof is a small one of the same code: five kills instead of forty.
func Full() bool { return os.Getenv("ERRAND_TEST_FULL") == "1" }

// Size is the size of a proof: usual, or full if [Full] says so.
func Size[T any](usual, full T) T {
	if Full() {
		return full
	}
	return usual
}

// NeedFull skips a test that has no small form, and names the test that runs the same
// code without ERRAND_TEST_FULL=1.
func NeedFull(t testing.TB, sibling string) {
	t.Helper()
	if !Full() {
		t.Skipf("left out without ERRAND_TEST_FULL=1; its small sibling is %s", sibling)
	}
}
