package task

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// limitResults bounds the results of a step, in bytes: with the largest reply they fit into
// an entry of package kv. sizeNote is about what a result takes beside its value, with the
// value that stands for one without room.
const (
	limitResults = 448 << 10
	sizeNote     = 200
)

// MaxReply is the size of the largest reply that can be a step, in bytes, with all that is
// stored about its calls.
const MaxReply = 400 << 10

// Kept is a step as package kv keeps it: with the results of its calls, by their index.
type Kept struct {
	Step
	Results map[int]Result `json:"results,omitempty"`
}

// A Result is the result of a call.
type Result struct {
	Value json.RawMessage `json:"value"` // a JSON object, for the model
	At    time.Time       `json:"at"`
}

// noRoom is the result of a call whose own one has no room.
const noRoom = `{"error":"the result cannot be shown, because those of all calls at once are too large: make fewer calls at a time"}`

// Size is the stored size of a step without results, in bytes.
func (s Step) Size() (int, error) {
	text, err := Kept{Step: s}.Encode()
	return len(text), err
}

// Merge adds results. The first result of a call counts, whoever made it. Results for which
// a step has no room are replaced by one that says so. changed is false if nothing is new.
func (k Kept) Merge(results map[int]Result) (merged Kept, changed bool) {
	room := limitResults - sizeNote*len(k.Calls)
	for _, r := range k.Results {
		room -= len(r.Value)
	}

	k.Results = maps.Clone(k.Results)
	if k.Results == nil {
		k.Results = map[int]Result{}
	}

	for _, i := range slices.Sorted(maps.Keys(results)) {
		if _, known := k.Results[i]; known || i < 0 || i >= len(k.Calls) {
			continue
		}
		r := results[i]
		if len(r.Value) > room && len(r.Value) > len(noRoom) {
			r.Value = json.RawMessage(noRoom)
		}
		room -= len(r.Value)
		k.Results[i], changed = r, true
	}

	return k, changed
}

// LargeKey is the key in package kv of the reply of a step that is too large for a record. It
// names the epoch: another run may have had another reply.
func (r Record) LargeKey(s Step) string { return fmt.Sprintf("%s.e%d", r.StepKey(s.Number), s.Epoch) }

// Large is what package kv keeps of a step under LargeKey: the reply, and the arguments of its
// calls.
type Large struct {
	Reply json.RawMessage   `json:"reply"`
	Args  []json.RawMessage `json:"args"`
}

// Split takes the large parts out of a step, and returns their stored form, whose hash the
// step has then.
func (s Step) Split() (small Step, text []byte, err error) {
	l := Large{Reply: s.Reply}
	s.Reply, s.Calls = nil, slices.Clone(s.Calls)
	for i := range s.Calls {
		l.Args = append(l.Args, s.Calls[i].Args)
		s.Calls[i].Args = nil
	}
	text, err = json.Marshal(l)
	s.Hash = hash(text)
	return s, text, err
}

// Join puts the large parts back into a step.
func (s Step) Join(text []byte) (Step, error) {
	if hash(text) != s.Hash {
		return s, errors.New("the stored reply of a step is not the one that was opened")
	}
	var l Large
	if err := json.Unmarshal(text, &l); err != nil || len(l.Args) != len(s.Calls) {
		return s, errors.New("the stored reply of a step cannot be read")
	}

	s.Reply, s.Calls = l.Reply, slices.Clone(s.Calls)
	for i := range s.Calls {
		s.Calls[i].Args = l.Args[i]
	}
	return s, nil
}

// Open reports whether a call of the step has no result.
func (k Kept) Open() bool { return len(k.Results) < len(k.Calls) }

// Unknown are those of the calls, by index, that have no result.
func (k Kept) Unknown(calls []int) []int {
	return slices.DeleteFunc(slices.Clone(calls), func(i int) bool {
		_, known := k.Results[i]
		return known
	})
}

// Encode returns the stored form.
func (k Kept) Encode() ([]byte, error) { return marshal(k) }

// DecodeKept reads the stored form of a step.
func DecodeKept(text []byte) (Kept, error) {
	var k Kept
	if err := json.Unmarshal(text, &k); err != nil {
		return Kept{}, fmt.Errorf("reading a stored step: %w", unreadable("value", err))
	}
	return k, nil
}
