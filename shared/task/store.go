package task

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

// Errors that a Store returns. Any other error means that the outcome is unknown or that
// the store is not reachable: after a read, try again; after a write, read first.
var (
	ErrExists   = errors.New("task: record exists")
	ErrNotFound = errors.New("task: no such record")
	ErrConflict = errors.New("task: record has changed")
	ErrTooLarge = errors.New("task: record is too large")
	ErrNewer    = errors.New("task: record was written by a newer version of this program")

	// ErrCount says that a list was asked to count more records than it can in time.
	ErrCount = errors.New("task: too many records match to count them in time")

	// ErrSlow says that a page of a list took longer than ListFor to read.
	ErrSlow = errors.New("task: the list takes too long")

	// ErrFull says that the store has no room. Unlike other unknown outcomes, nothing was
	// written.
	ErrFull = errors.New("task: the store has no room for new messages")

	// ErrAway says that the store does not answer: not even the record could be read. [Load]
	// and [Update] say so.
	ErrAway = errors.New("task: the store does not answer")

	// ErrUnreadable says that the stored text is not a record. A later read fails too,
	// except in another version of this program.
	ErrUnreadable = errors.New("task: record cannot be read")
)

// A Store keeps Records. It is safe for concurrent use.
//
// A write is atomic, and durable when it returns nil. A store returns a verdict, ErrExists
// and ErrConflict included, only after the write that it is about is durable, and wakes
// watchers after that. Reads are linearizable per record; List may be 2 s behind. Returned
// records are shared: callers must not change the values that they point to.
//
// A record that cannot be read fails its own Load and nothing else: a list leaves it out,
// counts it in Page.Unreadable, and reports it once by [Skips]. Its row stays as it is. A
// record that is stored under the id of another one cannot be read either.
//
// The caller retries, by reading and deciding again ([Update]). A store makes short retries
// of its own only where a repeated write cannot be mistaken for a write of another caller.
type Store interface {
	// Create stores a new record and returns it with its Version. ErrExists: a record that
	// has not expired has the id or its [Former] one, be it deleted (an expired one is
	// replaced). ErrTooLarge: the record is over LimitStore.
	Create(ctx context.Context, r Record) (Record, error)

	// Load returns the record. ErrNotFound: there is none, or it has expired. ErrDeleted:
	// its owner has deleted it; Load then returns what is left of it.
	// ErrUnreadable: the stored text is not a record.
	Load(ctx context.Context, id string) (Record, error)

	// Commit replaces the record whose Version is r.Version. ErrConflict: the record now
	// has another version or is gone, or a retry of this same write was applied and its
	// answer was lost (R0). ErrTooLarge, ErrNewer: nothing was written.
	Commit(ctx context.Context, r Record) (Record, error)

	// Watch yields the record as it is now and then newer versions as they are committed.
	// Versions may be skipped, the newest never. The watch is armed before the first value.
	// It ends when ctx does or the caller breaks off. An error is the last thing yielded:
	// ErrNotFound if the record does not exist or no longer exists, ErrDeleted if it is deleted.
	//
	// The store pays for one watcher of a record, even if many watch it in one process. A
	// watch that joins others begins with their newest version, which may be older than the
	// one that Load returns: [Follow] drops the versions that its caller knows. An adapter
	// uses [Topics] for this.
	Watch(ctx context.Context, id string) iter.Seq2[Record, error]

	// List returns one page of an owner's records, newest status first, without the deleted
	// ones, which the total does not count either. The items of a batch are in the list whose
	// context is the batch, and they alone: the batch's own task has the same context and is
	// in the owner's list, which has no items. A page ends before
	// the store decodes more than PageBytes for it, but has at least one record. It then
	// says that there are more. Records that cannot be read are left out; a page still ends
	// with a record if there are more. ErrCount: a count with Query.Since took longer than
	// CountFor; the time of any other count does not depend on how many records match.
	// ErrSlow: the page took longer than ListFor.
	List(ctx context.Context, q Query) (Page, error)
}

// CountFor bounds the counting of records whose status is at or after some time, and ListFor
// the reading of a page.
const (
	CountFor = 2 * time.Second
	ListFor  = 2 * time.Second
)

// PageBytes bounds the stored bytes of a page: heads, and bodies where a query asks for them.
// A hundred of the largest records would be 90 MB, for one small request.
const PageBytes = 4 << 20

// Chores are the methods of a store that repair and retention need. It is safe for
// concurrent use.
type Chores interface {
	// Due lists records of a shard whose debt in the lane is due at or before before, in the
	// order of their due times and then ids, beginning after the given Ref (zero: from the
	// start), at most limit of them. Each record is in the list of one shard of a division,
	// which may be the first one's instead of its own. It reads no record, so it also lists
	// those that cannot be read. ErrSlow: that took longer than ListFor.
	Due(ctx context.Context, queue string, of Shard, before time.Time, after Ref, limit int) ([]Ref, error)

	// Expired lists records of a shard that expired before the given time, in the order of
	// their expiry and then ids, beginning after the given Ref (zero: from the start), at most
	// limit of them. It reads no record, so it also lists those that cannot be read. Each
	// record is in the list of one shard, as with Due. ErrSlow: that took longer than ListFor.
	Expired(ctx context.Context, of Shard, before time.Time, after Ref, limit int) ([]Lapsed, error)

	// Replaced reports whether another record has the id now: [Store.Create] may replace an
	// expired record at any time. It reports false if there is no record any more.
	Replaced(ctx context.Context, l Lapsed) (bool, error)

	// Remove deletes those of the listed records that were not replaced since, and returns
	// how many. It leaves out records that another call is deleting. After an error some
	// may be deleted.
	Remove(ctx context.Context, list []Lapsed) (int, error)
}

// A Lapsed is an expired record as [Chores.Expired] has listed it. The Version tells it from
// a later record under the same id. A damaged row has no ID or no Version.
type Lapsed struct {
	Ref     // At is when it expired
	Version int64
}

// DeadLetters finds dead letters: records with webhooks that are no longer tried. It is safe
// for concurrent use.
type DeadLetters interface {
	// Dead returns one page of the records that have a dead webhook ([Record.HasDead]), of
	// one owner or of all owners, items of batches among them: newest status first, equal ones by id. It may be 2 s
	// behind and ends before PageBytes, as List does, and leaves out expired records and
	// those that cannot be read. The records carry no history, artifacts, inbox or log, and
	// must not be committed. ErrSlow: the page took longer than ListFor.
	Dead(ctx context.Context, q DeadQuery) (Page, error)
}

// A Holder says what the tasks of an owner take. It is safe for concurrent use.
type Holder interface {
	// Held counts an owner's tasks, deleted and expired ones excluded as far as that costs
	// nothing. Waiting ends at most+1. It may be 2 s behind. It reads no record, and its time
	// does not depend on how many tasks there are.
	Held(ctx context.Context, owner string, most int) (Holding, error)
}

// A Holding is what the tasks of an owner take.
type Holding struct {
	Waiting int   // tasks that are submitted or working, without the items of batches
	Bytes   int64 // stored bytes of all tasks, items included; -1: the store does not count them
}

// A Ref names a record and its place in an ordered listing.
type Ref struct {
	At time.Time
	ID string
}

// A Query selects records of one owner. All filters must hold.
type Query struct {
	Owner   string // required, "" is the anonymous owner
	Context string // empty: any, but no items of batches; a batch: its items
	State   a2a.TaskState
	Since   time.Time // status at or after; zero: any
	After   Ref       // begin after this record of the previous page; zero: first page
	Limit   int       // 1 to 100
	Bodies  bool      // also fill in the other fields, history and artifacts among them
	Count   bool      // also count all records that match
}

// A DeadQuery selects records with a dead webhook.
type DeadQuery struct {
	Owner string // "" is the anonymous owner
	All   bool   // of every owner: Owner is ignored
	After Ref    // begin after this place, even if no record has it; zero: first page
	Limit int    // 1 to 100
}

// A Page is one page of a list. With Query.Bodies unset its records carry only the task
// without history and artifacts, owner, schema, version and expiry, and must not be
// committed.
type Page struct {
	Records []Record
	More    bool // there are records after the last one
	Total   int  // records that match on all pages, unreadable ones included; 0 without Query.Count

	Unreadable int // records that this page leaves out because they cannot be read
}
