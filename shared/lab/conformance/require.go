package conformance

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// Require skips a test if this machine lacks a program that the test needs, and names the
// remedy. ERRAND_TEST_REQUIRE lists the programs that must not be missing. Without one of
// these the test fails.
func Require(t testing.TB, name string, found bool, remedy string) {
	t.Helper()
	switch {
	case found:
	case slices.Contains(strings.Split(os.Getenv("ERRAND_TEST_REQUIRE"), ","), name):
		t.Fatalf("%s is required and missing: %s", name, remedy)
	default:
		t.Skipf("%s is missing: %s", name, remedy)
	}
}

// Full reports whether the long proofs run, which ERRAND_TEST_FULL=1 selects. Without it the
// same code runs as a small proof, with five kills instead of twenty.
func Full() bool { return os.Getenv("ERRAND_TEST_FULL") == "1" || whole() }

func whole() bool { return os.Getenv("ERRAND_TEST_FULL") == "2" }

// Long returns the size of a proof whose whole takes minutes, with ERRAND_TEST_FULL=2, and
// otherwise as [Size].
func Long[T any](usual, full, largest T) T {
	if whole() {
		return largest
	}
	return Size(usual, full)
}

// Size returns the size of a proof: full with ERRAND_TEST_FULL=1, otherwise usual.
func Size[T any](usual, full T) T {
	if Full() {
		return full
	}
	return usual
}

// NeedFull skips a test without a small form, unless ERRAND_TEST_FULL=1 is set. It names the
// test that always runs the same code.
func NeedFull(t testing.TB, sibling string) {
	t.Helper()
	if !Full() {
		t.Skipf("this test runs only with ERRAND_TEST_FULL=1; its small form is %s", sibling)
	}
}
