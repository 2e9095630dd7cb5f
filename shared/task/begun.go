package task

import (
	"fmt"
	"strings"
	"time"
)

// Begun are the calls with effects of the open step that have begun, by index. The record does
// not know which of them have a result: package kv has the results, under StepKey.
func (r Record) Begun() []int {
	var calls []int
	if r.Step == nil {
		return nil
	}
	for i, c := range r.Step.Calls {
		if c.Effects && !c.Begun.IsZero() {
			calls = append(calls, i)
		}
	}
	return calls
}

// BeginsUntil is when none of the calls of Begun can begin any more under a commit that was
// made so far (R16b); zero: there are none. The end of a task is told to its client then.
func (r Record) BeginsUntil() time.Time {
	var last time.Time
	for _, i := range r.Begun() {
		last = latest(last, r.Step.Calls[i].Begun.Add(BeginWithin))
	}
	return last
}

// MayHaveHappened tells a client which calls of the open step have begun, and may have
// happened. It is empty without any.
func (r Record) MayHaveHappened(calls []int) string {
	if len(calls) == 0 {
		return ""
	}
	names := make([]string, len(calls))
	for n, i := range calls {
		names[n] = fmt.Sprintf("%s (key %s)", r.Step.Calls[i].Name, r.CallKey(r.Step.Number, i))
	}
	return " These calls had begun, and may have happened: " + strings.Join(names, ", ") + "."
}
