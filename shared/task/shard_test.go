package task_test

import (
	"fmt"
	"testing"

	"errand/shared/task"
)

// Each bucket belongs to exactly one shard, whatever their number, and the tasks of an owner
// and the items of a batch are spread over all buckets.
func TestBucketsAndShards(t *testing.T) {
	for _, of := range []int{0, 1, 2, 4, 8} {
		for bucket := range task.Buckets {
			n := 0
			for i := range max(of, 1) {
				if (task.Shard{Index: i, Of: of}).Has(bucket) {
					n++
				}
			}
			if n != 1 {
				t.Errorf("bucket %d belongs to %d of %d shards", bucket, n, of)
			}
		}
	}

	batch := task.BatchID("alice", "nightly")
	for name, id := range map[string]func(int) string{
		"tasks": func(i int) string { id, _ := task.Derive("alice", fmt.Sprint(i)); return id },
		"items": func(i int) string { return task.ItemID(batch, i+1) },
	} {
		const all = 4000
		n := [task.Buckets]int{}
		for i := range all {
			n[task.Bucket(id(i))]++
		}
		for bucket, n := range n {
			if n < all/task.Buckets*4/5 || n > all/task.Buckets*6/5 {
				t.Errorf("bucket %d has %d of %d %s", bucket, n, all, name)
			}
		}
	}
}
