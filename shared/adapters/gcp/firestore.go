package gcp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"cloud.google.com/go/firestore"
	"google.golang.org/api/option"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"errand/shared/task"
)

// The first collection has one document for each task, with the task's id. The other one has
// one document for each entry of package kv.
const (
	collection        = "tasks"
	collectionEntries = "kv"
)

// maxKey is how many bytes of a string Firestore compares. A longer owner would see the tasks
// of another owner with the same beginning.
// https://firebase.google.com/docs/firestore/quotas#indexes
const maxKey = 1500

// patience limits a call that Firestore does not answer. The client itself sets no deadline
// for reads and repeats a write for a minute.
const patience = 10 * time.Second

// perConnection is how many listeners share a connection. Google's front ends allow 100
// streams on it, and a client queues further ones without an error. The rest is for streams
// that are ending. https://grpc.io/docs/guides/performance/
const perConnection = 90

// Listeners is how many tasks have a listener at the same time by default: as many as an
// instance of the front door takes requests (infra/run.tf). A task beyond them is read every
// second, and each read costs money.
const Listeners = 250

var errStoreClosed = errors.New("gcp: the store is closed")

// FirestoreOptions adjust a Firestore. The zero value is usable.
type FirestoreOptions struct {
	Now       func() time.Time // the clock for expiry; default time.Now
	Listeners int              // watched tasks that have a listener; default [Listeners], negative: none
	Poll      time.Duration    // how often a watched task without a listener is read, each time at the price of a read; default 1 s
	Recheck   time.Duration    // how often every watched task is read, also with a listener; default 1 min
	Shards    int              // more than 1: each bucket of tasks has ranges of its own in the indexes
	CountFor  time.Duration    // longest count of a list with Since; default task.CountFor
	Log       *slog.Logger     // for records that cannot be read; default slog.Default()

	Options []option.ClientOption // ignored with FIRESTORE_EMULATOR_HOST
}

// A Firestore is a task.Store, task.Chores and task.DeadLetters on a Firestore database in
// native mode, and has a kv.Store in the same database. It is safe for concurrent use,
// by many processes.
//
// Every write has a condition on the time of the document's last update. It takes one round
// trip and no locks. A transaction would take two, and other writers would wait for it.
// Record.Version is the update time in microseconds, which is its resolution. The update
// times of a document strictly rise, even if the document is deleted and created again.
// https://firebase.google.com/docs/firestore/reference/rpc/google.firestore.v1#document
type Firestore struct {
	opts    FirestoreOptions
	client  *firestore.Client
	tasks   *firestore.CollectionRef
	entries *firestore.CollectionRef

	listeners []*firestore.Client
	slots     chan *firestore.Client // one entry for each further listener

	former atomic.Pointer[bool] // whether there are records of an earlier version; nil: not known yet

	topics    *task.Topics
	skips     task.Skips
	closeOnce sync.Once
	closeErr  error
}

var (
	_ task.Store       = (*Firestore)(nil)
	_ task.Chores      = (*Firestore)(nil)
	_ task.DeadLetters = (*Firestore)(nil)
	_ task.Holder      = (*Firestore)(nil)
	_ task.Items       = (*Firestore)(nil)
)

// OpenFirestore makes a Firestore for a database. The name "" stands for the default one. The
// first call connects. With FIRESTORE_EMULATOR_HOST set it uses that emulator.
func OpenFirestore(ctx context.Context, project, database string, opts FirestoreOptions) (*Firestore, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Listeners == 0 {
		opts.Listeners = Listeners
	}
	if opts.Poll == 0 {
		opts.Poll = time.Second
	}
	if opts.Recheck == 0 {
		opts.Recheck = time.Minute
	}

	if opts.CountFor == 0 {
		opts.CountFor = task.CountFor
	}
	if opts.Log == nil {
		opts.Log = slog.Default()
	}
	if database == "" {
		database = firestore.DefaultDatabaseID
	}

	open := func(probe keepalive.ClientParameters) (*firestore.Client, error) {
		o := append(connecting(probe), opts.Options...)
		c, err := firestore.NewClientWithDatabase(ctx, project, database, o...)
		if err != nil {
			return nil, fmt.Errorf("opening Firestore database %s of project %q: %w", database, project, err)
		}
		return c, nil
	}

	client, err := open(probe)
	if err != nil {
		return nil, err
	}

	f := &Firestore{
		opts: opts, client: client, tasks: client.Collection(collection), entries: client.Collection(collectionEntries),
		skips: task.Skips{Log: opts.Log}, slots: make(chan *firestore.Client, max(opts.Listeners, 0)),
	}

	f.topics = task.NewTopics(task.TopicsConfig{Load: f.Load, Now: opts.Now, Feed: f.feed, Linger: linger, Poll: opts.Recheck})
	for i := range max(opts.Listeners, 0) {
		if i%perConnection == 0 {
			c, err := open(probeListeners)
			if err != nil {
				return nil, errors.Join(err, f.Close())
			}
			f.listeners = append(f.listeners, c)
		}

		f.slots <- f.listeners[len(f.listeners)-1]
	}

	return f, nil
}

// Close ends all watches and the connections.
func (f *Firestore) Close() error {
	f.closeOnce.Do(func() {
		f.topics.Close(errStoreClosed)
		f.closeErr = f.client.Close()
		for _, c := range f.listeners {
			f.closeErr = errors.Join(f.closeErr, c.Close())
		}
	})
	return f.closeErr
}

// Room returns nil: a Firestore database has no size.
func (f *Firestore) Room(context.Context) error { return nil }

// possible reports whether a document can have this id. No record has an impossible one.
// https://firebase.google.com/docs/firestore/quotas#collections_documents_and_fields
func possible(id string) bool {
	return id != "" && len(id) <= maxKey && utf8.ValidString(id) && !strings.Contains(id, "/") &&
		id != "." && id != ".." && !(strings.HasPrefix(id, "__") && strings.HasSuffix(id, "__"))
}

// record decodes a document, whose fields may lack the body.
func record(snap *firestore.DocumentSnapshot) (task.Record, stored, error) {
	d, err := fields(snap)
	if err != nil {
		return task.Record{}, d, err
	}
	r, err := task.Decode(d.Head, d.Body, snap.UpdateTime.UnixMicro())
	return r, d, own(snap, r, err)
}

// listing decodes the fields of a document that a list shows.
func listing(snap *firestore.DocumentSnapshot) (task.Record, stored, error) {
	d, err := fields(snap)
	if err != nil {
		return task.Record{}, d, err
	}
	r, err := task.DecodeListed(d.Head, snap.UpdateTime.UnixMicro())
	return r, d, own(snap, r, err)
}

// own checks that a record is the one of its document.
func own(snap *firestore.DocumentSnapshot, r task.Record, err error) error {
	if err == nil && r.ID() != snap.Ref.ID {
		err = fmt.Errorf("%w: its head is the one of another task", task.ErrUnreadable)
	}
	return err
}

// stored has the fields of a document that hold its record.
type stored struct {
	Head []byte `firestore:"head"`
	Body []byte `firestore:"body"`
	Size int    `firestore:"size"` // bytes of Head and Body together, also where a query reads no body
}

// read returns the number of bytes that a page decodes for the record.
func (s stored) read(bodies bool) int {
	if bodies {
		return s.Size
	}
	return len(s.Head)
}

func fields(snap *firestore.DocumentSnapshot) (d stored, err error) {
	if err := snap.DataTo(&d); err != nil {
		return stored{}, fmt.Errorf("%w: its fields have other types", task.ErrUnreadable)
	}
	return d, nil
}

// limited gives a call its deadline.
func limited(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, patience)
}

// failure names the deadline that ended a call. If it was the caller's, errors.Is finds it,
// which gRPC's codes alone would hide. Otherwise it was the deadline of [limited].
func failure(ctx context.Context, err error) error {
	switch own := ctx.Err(); {
	case own != nil && !errors.Is(err, own):
		return fmt.Errorf("%w: %w", own, err)
	case own == nil && (code(err) == codes.DeadlineExceeded || errors.Is(err, context.DeadlineExceeded)):
		return fmt.Errorf("no answer of Firestore within %v: %w", patience, err)
	}
	return err
}

func code(err error) codes.Code { return status.Code(err) }
