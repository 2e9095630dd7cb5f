package gcp

import _ "embed"

// FirestoreIndexes has the indexes that the queries of a [Firestore] need, the exemptions
// from automatic indexes, and the policy by which the database deletes expired documents,
// in the format of the Firebase CLI. The emulator requires none of them. A test compares
// them with the queries.
// https://firebase.google.com/docs/reference/firestore/indexes
//
// Every index for a list begins with the owner, which of the items of a batch is the batch's
// list ([task.Indexed]), or with whose, the true owner of an item with a dead webhook. An index that grows at one end takes about
// 500 writes a second, because a single range of it takes all of them. With the owner in
// front, this limit holds for one owner's tasks instead of all tasks. Three indexes have no
// owner in front. Each accept and claim writes the one of lane and due, and each end of a
// task writes the one of expires. They limit an installation to about 500 commits a
// second, which is also the limit for dispatches of one queue of Cloud Tasks. The third
// index lists the dead webhooks of all owners, and only tasks with a dead webhook write it.
// https://firebase.google.com/docs/firestore/solutions/shard-timestamp
//
// The index of open items begins with the batch, so the limit of a range holds for one batch:
// the creation and the end of an item write it, and nothing in between.
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
