package task

import "hash/fnv"

// Buckets is the number of buckets that tasks are in, by their ids. A store may keep the tasks
// of each bucket in a range of an index of its own.
const Buckets = 8

// Bucket returns the bucket of the task with this id, from 0 to Buckets-1.
func Bucket(id string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id)) // never fails
	return int(h.Sum32() % Buckets)
}

// A Shard is one of several equal parts of all tasks. A sweep looks after one. The zero value
// is all tasks.
type Shard struct {
	Index int // from 0 to Of-1
	Of    int // how many parts there are: 1, 2, 4 or 8; 0: one
}

// Has reports whether the tasks of a bucket belong to the shard.
func (s Shard) Has(bucket int) bool { return s.Of <= 1 || bucket%s.Of == s.Index }

// First reports whether the shard is the first one. It also has what belongs to no other.
func (s Shard) First() bool { return s.Of <= 1 || s.Index == 0 }
