package gcp

import (
	"fmt"

	"errand/shared/task"
)

// An index that grows at one end takes about 500 writes a second, because one range of it takes
// all of them. So with more than one shard, the documents of each bucket of tasks have a range
// of their own in each such index: the field that begins it ends in the bucket.
// https://firebase.google.com/docs/firestore/solutions/shard-timestamp
//
// Every query asks for all forms, so the number of shards may change at any time. That costs
// nothing: a query is billed by the documents that it finds, and is one read at least. A filter
// has at most 30 alternatives, and ours have 18.
// https://firebase.google.com/docs/firestore/pricing
// https://firebase.google.com/docs/firestore/query-data/queries#limits_on_or_queries

// ending is how many bytes a bucket adds to a value.
const ending = 2

// ranged returns a value that begins an index as the document of a task has it: plain, or with
// the bucket. The latter is bytes, which equal no text, so it is nobody's plain owner.
func (f *Firestore) ranged(value, id string) any {
	if f.opts.Shards <= 1 {
		return value
	}
	return inBucket(value, task.Bucket(id))
}

func inBucket(value string, bucket int) []byte { return fmt.Appendf(nil, "%s/%d", value, bucket) }

// within lists the forms of a value that the tasks of a shard have. Those of plain values are
// the first shard's.
func within(value string, of task.Shard) (forms []any) {
	if of.First() {
		forms = append(forms, value)
	}
	for _, bucket := range bucketsOf(of) {
		forms = append(forms, inBucket(value, bucket))
	}
	return forms
}

// anywhere lists all forms of a value.
func anywhere(value string) []any { return within(value, task.Shard{}) }

// bucketsOf lists the buckets of a shard.
func bucketsOf(of task.Shard) (some []int) {
	for bucket := range task.Buckets {
		if of.Has(bucket) {
			some = append(some, bucket)
		}
	}
	return some
}
