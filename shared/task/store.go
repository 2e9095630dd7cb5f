package task

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

// Errors that a Store answers. Anything else means that the outcome is unknown
// or the store is not reachable: for a read, try again; for a write, read first.
var (
	ErrExists   = errors.New("task: record exists")
	ErrNotFound = errors.New("task: no such record")
	ErrConflict = errors.New("task: record has changed")
	ErrTooLarge = errors.New("task: record is too large")
	ErrNewer    = errors.New("task: record was written by a newer version of this program")

	// ErrCount says that a list was asked to count more records than it can in time.
	ErrCount = errors.New("task: too many records match to count them in time")

	// ErrUnreadable is of a record that is no such text. It will not be read later,
	// except by another version of this program.
	ErrUnreadable = errors.New("task: record cannot be read")
)

// A Store keeps Records. It is safe for concurrent use.
//
// A write is atomic, and durable when it returns nil. A verdict, ErrExists and
// ErrConflict included, is given only after the write it speaks of is durable;
// watchers are woken after that. Reads are linearizable per record; List may be
// 2 s behind. Returned records are shared: nobody changes what they point to.
//
// The caller retries, by reading and deciding again ([Update]): a store makes
// short retries of its own only where a repeated write cannot be mistaken for
// somebody else's.
type Store interface {
	// Create stores a new record and returns it with its Version. ErrExists: the
	// id is taken by a record that has not expired (an expired one is replaced).
	// ErrTooLarge: it is over LimitStore.
	Create(ctx context.Context, r Record) (Record, error)

	// Load returns the record, or ErrNotFound, also when it has expired, or
	// ErrUnreadable.
	Load(ctx context.Context, id string) (Record, error)

	// Commit replaces the record whose Version is r.Version. ErrConflict: it has
	// another version now, or none, or this very write was applied by a retry
	// whose answer was lost (R0). ErrTooLarge, ErrNewer: nothing was written.
	Commit(ctx context.Context, r Record) (Record, error)

	// Watch yields the record as it is now and then newer versions as they are
	// committed; versions may be skipped, the newest never. It is armed before
	// the first value. It ends when ctx does or the caller breaks off; an error is
	// the last thing yielded, ErrNotFound if there is no such record or no longer.
	//
	// However many watch a record in one process, the store pays for one. A watch
	// that joins others begins with their newest version, which may be older than
	// the one that Load returns: [Follow] drops the versions that its caller knows.
	// [Topics] are the part of an adapter that does this.
	Watch(ctx context.Context, id string) iter.Seq2[Record, error]

	// List returns one page of an owner's records, newest status first. A page with
	// bodies ends, and says that there are more, before it has more than PageBytes
	// stored, but has at least one record. ErrCount: a count with Query.Since took
	// longer than CountFor; no other count depends on how many records match.
	List(ctx context.Context, q Query) (Page, error)
}

// CountFor bounds the counting of records whose status is at or after some time.
const CountFor = 2 * time.Second

// PageBytes bounds a page of records with their bodies: a hundred of the largest
// would be 90 MB, for one small request.
const PageBytes = 4 << 20

// Chores is what repair and retention need of a store. It is safe for concurrent
// use.
type Chores interface {
	// Due lists records whose debt in the queue is due at or before before, in
	// the order of their due times and then ids, beginning after the given Ref
	// (zero: from the start), at most limit of them.
	Due(ctx context.Context, queue string, before time.Time, after Ref, limit int) ([]Ref, error)

	// Purge deletes up to limit records that expired before the given time and
	// returns how many.
	Purge(ctx context.Context, before time.Time, limit int) (int, error)
}

// Letters finds dead letters: webhooks that are no longer tried. It is safe for
// concurrent use.
type Letters interface {
	// Dead returns one page of the records that have a dead webhook
	// ([Record.HasDead]), newest status first and equal ones by id, of one owner or
	// of all. It may be 2 s behind, as List is; expired records are left out. The
	// records carry no history, artifacts, inbox or log, and must not be committed.
	Dead(ctx context.Context, q DeadQuery) (Page, error)
}

// A Ref names a record and its place in an ordered listing.
type Ref struct {
	At time.Time
	ID string
}

// A Query selects records of one owner. All filters must hold.
type Query struct {
	Owner   string // required, "" is the anonymous owner
	Context string // empty: any
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
	All   bool   // of every owner: Owner is not looked at
	After Ref    // begin after this place, whether or not a record is there; zero: first page
	Limit int    // 1 to 100
}

// A Page is one page of a list. With Query.Bodies unset its records carry only the
// task without history and artifacts, owner, schema, version and expiry, and must not
// be committed.
type Page struct {
	Records []Record
	More    bool // there are records after the last one
	Total   int  // all that match, whatever the page; 0 unless asked for
}
