package gcp

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"cloud.google.com/go/firestore"
	"google.golang.org/api/option"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"errand/shared/task"
)

// Of the collections, the first holds one document per task, whose id is the task's,
// and the other one per entry of package kv.
const (
	collection        = "tasks"
	collectionEntries = "kv"
)

// maxKey is how many bytes of a string Firestore compares: a longer owner would
// see what belongs to another one that begins alike.
// https://firebase.google.com/docs/firestore/quotas#indexes
const maxKey = 1500

// patience ends a call that Firestore does not answer. The client itself gives
// reads no deadline and repeats a write for a minute.
const patience = 10 * time.Second

// perConnection is how many listeners share a connection. Google's front ends let it
// carry 100 streams, and a client queues further ones without a word; some are left
// for streams that are just ending. https://grpc.io/docs/guides/performance/
const perConnection = 90

var errStoreClosed = errors.New("gcp: the store is closed")

// FirestoreOptions adjust a Firestore. The zero value is usable.
type FirestoreOptions struct {
	Now       func() time.Time // the clock of expiry; time.Now
	Listeners int              // tasks watched by listening at once; 0: 90, negative: none
	Poll      time.Duration    // how often further ones are read, each time at the price of a read; 1 s
	Recheck   time.Duration    // how often each watched one is read beside its listener; 1 min
	CountFor  time.Duration    // longest count of a list with Since; task.CountFor

	Options []option.ClientOption // not heeded with FIRESTORE_EMULATOR_HOST
}

// A Firestore is a task.Store, task.Chores and task.Letters on a Firestore database in
// native mode, and has a kv.Store in the same database. It is safe for concurrent use,
// by many processes.
//
// Every write is conditional by the time of the document's last update, in one
// round trip and without locks: a transaction would take two and lets others wait
// for it. Record.Version is that time in microseconds, which is its resolution; a
// database gives it out strictly rising per document, also when that is deleted and
// created again.
// https://firebase.google.com/docs/firestore/reference/rpc/google.firestore.v1#document
type Firestore struct {
	opts    FirestoreOptions
	client  *firestore.Client
	tasks   *firestore.CollectionRef
	entries *firestore.CollectionRef

	listeners []*firestore.Client
	slots     chan *firestore.Client // one entry for each further listener

	topics    *task.Topics
	closeOnce sync.Once
	closeErr  error
}

var (
	_ task.Store   = (*Firestore)(nil)
	_ task.Chores  = (*Firestore)(nil)
	_ task.Letters = (*Firestore)(nil)
)

// OpenFirestore prepares the use of a database; "" is the default one. It connects
// at the first call. With FIRESTORE_EMULATOR_HOST set it uses that emulator.
func OpenFirestore(ctx context.Context, project, database string, opts FirestoreOptions) (*Firestore, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Listeners == 0 {
		opts.Listeners = perConnection
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
		slots: make(chan *firestore.Client, max(opts.Listeners, 0)),
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

// possible says whether a document can have this id; no record has another.
// https://firebase.google.com/docs/firestore/quotas#collections_documents_and_fields
func possible(id string) bool {
	return id != "" && len(id) <= maxKey && utf8.ValidString(id) && !strings.Contains(id, "/") &&
		id != "." && id != ".." && !(strings.HasPrefix(id, "__") && strings.HasSuffix(id, "__"))
}

// record reads a document, without the body if that was not asked for, and says how
// large the record is with it.
func record(snap *firestore.DocumentSnapshot) (r task.Record, size int, err error) {
	d, err := fields(snap)
	if err == nil {
		r, err = task.Decode(d.Head, d.Body, snap.UpdateTime.UnixMicro())
	}
	return r, d.Size, err
}

// listing reads of a document what a list shows.
func listing(snap *firestore.DocumentSnapshot) (r task.Record, size int, err error) {
	d, err := fields(snap)
	if err == nil {
		r, err = task.DecodeListed(d.Head, snap.UpdateTime.UnixMicro())
	}
	return r, d.Size, err
}

// stored are the fields of a document that hold its record.
type stored struct {
	Head []byte `firestore:"head"`
	Body []byte `firestore:"body"`
	Size int    `firestore:"size"`
}

func fields(snap *firestore.DocumentSnapshot) (d stored, err error) {
	if err := snap.DataTo(&d); err != nil {
		return stored{}, fmt.Errorf("document %s: %w: %w", snap.Ref.ID, task.ErrUnreadable, err)
	}
	return d, nil
}

// limited gives a call its deadline.
func limited(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, patience)
}

// failure tells whose deadline ended a call: the caller's, which errors.Is then
// finds and the codes of gRPC hide, or the one of [limited].
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
