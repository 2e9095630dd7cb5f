package gcp

import _ "embed"

// FirestoreIndexes has the indexes that the queries of a [Firestore] need, the exemptions
// from automatic indexes, and the policy by which the database deletes expired documents,
// in the format of the Firebase CLI. The emulator requires none of them. A test compares
// them with the queries.
// https://firebase.google.com/docs/reference/firestore/indexes
//
// Every index for a list begins with the owner, which of the items of a batch is the batch's
// list ([task.Indexed]), or with whose, the true owner of an item with a dead webhook. An index
// that grows at one end takes about 500 writes a second, because a single range of it takes all
// of them. With the owner in front, this limit holds for one owner's tasks instead of all tasks.
// https://firebase.google.com/docs/firestore/solutions/shard-timestamp
//
// Three indexes have no owner in front. Each commit writes the one of lane and due, and each end
// of a task the one of expires. The third lists the dead webhooks of all owners, and only tasks
// with a dead webhook write it. The index of open items begins with the batch: the creation and
// the end of an item write it, and nothing in between.
//
// With one shard, each of these indexes has one range for a lane, an owner or a batch, which
// limits an installation to about 160 tasks a second. With more, it has eight, by the bucket of
// the task ([Firestore.ranged]). Then the index of expires alone is taken away (infra/firestore.tf),
// and expired tasks are found by bucket and expires. The index of all dead webhooks stays as it is.
//
// Only expires has an index by itself. No query reads the automatic indexes of single
// fields. Those of head and body would make most of the cost of a write, and that of stamp
// would limit all owners together. A document without due, expires, dead, whose or open is not
// in their indexes.
//
// Entries of package kv are in no index, not even by their expiry, because the policy of
// deletion does not need one. https://firebase.google.com/docs/firestore/ttl
//
//go:embed firestore.indexes.json
var FirestoreIndexes []byte
