//go:build race

package conformance

// Racing reports whether the race detector watches the tests. What has no code of its own that
// races is left out then, because everything takes many times as long.
const Racing = true
