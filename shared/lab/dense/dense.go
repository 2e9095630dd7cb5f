// Package dense makes JSON that takes much memory for its bytes, and measures what its readers
// allocate. It judges nothing: a test knows how much its reader may take.
package dense

import (
	"runtime"
	"strings"
)

// A Unit is a JSON value that takes much memory for its bytes.
type Unit struct {
	Name, Text string
	Values     int // in Text
}

// Units are the shapes, the most expensive one first.
var Units = []Unit{
	{"objects of one", `{"":0}`, 2},
	{"escapes", `"\u0041\u00e9\ud83d\ude00\u2028"`, 1},
	{"nested", strings.Repeat("[", 90) + strings.Repeat("]", 90), 90},
	{"nested objects", strings.Repeat(`{"":`, 90) + "0" + strings.Repeat("}", 90), 91},
	{"arrays", `[]`, 1},
	{"objects", `{}`, 1},
	{"numbers", `0`, 1},
	{"long numbers", `1.7976931348623157e308`, 1},
	{"literals", `null`, 1},
	{"empty strings", `""`, 1},
}

// List is a JSON array of as many units as n bytes and that number of values allow. Without a
// number of values the bytes alone count.
func (u Unit) List(n, values int) string {
	count := (n - 1) / (len(u.Text) + 1)
	if values > 0 {
		count = min(count, (values-1)/u.Values)
	}
	return "[" + strings.TrimSuffix(strings.Repeat(u.Text+",", count), ",") + "]"
}

// Allocated returns the bytes of all allocations of the process while f runs. They bound its
// heap at every moment, and depend neither on the collector nor on how busy the machine is.
func Allocated(f func()) int {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc - before.TotalAlloc)
}
