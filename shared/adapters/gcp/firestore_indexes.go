package gcp

import _ "embed"

// FirestoreIndexes are the indexes that the queries of a [Firestore] need, the
// exemptions and the policy by which the database deletes what has expired, in the
// format of the Firebase CLI. The emulator asks for none of them; a test holds them
// against the queries.
// https://firebase.google.com/docs/reference/firestore/indexes
//
// Every index that a list reads begins with the owner. An index that grows at one end
// takes about 500 writes a second, because one range of it takes them all: with an
// owner in front that bounds one owner's tasks and not everybody's. Three have nothing
// in front. Of these, lane and due is written by each accept and claim, and expires by
// each end: they bound an installation to about 500 commits a second, which is also
// what a queue of Cloud Tasks dispatches. The third is of the dead webhooks of all
// owners, and only writes of tasks that have one reach it.
// https://firebase.google.com/docs/firestore/solutions/shard-timestamp
//
// No field but expires is indexed by itself: the automatic indexes of head and body
// would cost most of a write, that of stamp would bound everybody again, and no
// query reads any. A document without due, expires or dead is in no index of them.
//
// Entries of package kv are in no index at all, not even by their expiry, which the
// policy of deletion does not need. https://firebase.google.com/docs/firestore/ttl
//
//go:embed firestore.indexes.json
var FirestoreIndexes []byte
