package task

import (
	"fmt"
	"strings"
	"time"
)

// This file is for stores: it holds the decisions about a stored record that all stores
// share.

// ForStore encodes a record that is about to be written, and gives it the schema that its
// stored form has. ErrTooLarge: the record is over [LimitStore]. ErrNewer: as [Record.Encode] says.
// A record that was read without its body is refused.
func (r *Record) ForStore() (*Encoded, error) {
	if r.headOnly {
		return nil, fmt.Errorf("task %s was read without its body and cannot be written", r.ID())
	}
	enc, err := r.Encode()
	if err != nil {
		return nil, err
	}
	if enc.Size() > LimitStore {
		return nil, fmt.Errorf("task %s: %w: %d bytes, at most %d", r.ID(), ErrTooLarge, enc.Size(), LimitStore)
	}

	r.Schema = max(r.Schema, beforeSteps)
	return enc, nil
}

// Indexed holds the fields of a record that a store keeps beside its text, to find records
// by them. Its times are cut to the precision that stores can keep.
//
// The items of a batch are in no list of their owner but in one of their own, and Lister and
// Context say so: the lister of an item is [ItemLister], and its context is empty, because all
// of the list have the same. [Query.Keys] asks accordingly.
type Indexed struct {
	Owner   string // of the record
	Lister  string // whose lists and totals have the record: the owner, but for an item
	Context string
	State   string

	Stamp   time.Time // whole milliseconds
	Due     time.Time // whole microseconds; zero: no work is pending
	Lane    string    // lane of Due
	Expires time.Time // whole milliseconds; zero: never
	Leased  bool      // a worker holds a lease
	Dead    bool      // a webhook was given up
	Deleted bool      // the owner has deleted the task: no list and no total has it

	Open string // of an item that has not ended: its batch ([Items]); empty: of all other records
	Line int    // its line
}

// Indexed returns the fields by which stores find r.
func (r Record) Indexed() Indexed {
	i := Indexed{
		Owner: r.Owner, Lister: r.Owner, Context: r.Task.ContextID, State: string(r.State()), Stamp: r.Stamp().Truncate(time.Millisecond),
		Expires: r.Expires.Truncate(time.Millisecond), Leased: r.Lease != (Lease{}), Dead: r.HasDead(),
		Deleted: r.Deleted,
	}
	if !r.Due.At.IsZero() {
		i.Due, i.Lane = r.Due.At.Truncate(time.Microsecond), r.Due.Lane
	}
	if batch, line, ok := r.Item(); ok {
		i.Lister, i.Context = ItemLister(r.Owner, batch), ""
		if !r.Terminal() && !r.Deleted {
			i.Open, i.Line = batch, line
		}
	}
	return i
}

// listerMark is between the batch and the owner in the lister of items. No owner's name begins
// with a batch and this character.
const listerMark = " "

// ItemLister names the list of the items of an owner's batch, as a lister of [Indexed].
func ItemLister(owner, batch string) string { return batch + listerMark + owner }

// OwnerOf returns the owner of the records of a lister.
func OwnerOf(lister string) string {
	if batch, owner, ok := strings.Cut(lister, listerMark); ok && IsBatch(batch) {
		return owner
	}
	return lister
}

// Keys returns the lister and the context, if any, of the records that the query selects: those
// of a batch as context are its items.
func (q Query) Keys() (lister, context string) {
	if IsBatch(q.Context) {
		return ItemLister(q.Owner, q.Context), ""
	}
	return q.Owner, q.Context
}

// CeilMilli returns the first whole millisecond that is not before t. A status at a
// fraction of a millisecond before t is not "at or after" t, although both are stored as
// the same millisecond.
func CeilMilli(t time.Time) time.Time {
	ms := t.Truncate(time.Millisecond)
	if ms.Before(t) {
		ms = ms.Add(time.Millisecond)
	}
	return ms
}
