package local

import (
	"container/heap"
	"time"
)

// A key identifies jobs that are coalesced while they wait: jobs with the same path and
// task, and with the same time if it lies in the future. The time is part of the key because
// a wake-up that is delivered early finds nothing to do, and would be missing later. The
// zero key equals no key, not even itself.
type key struct {
	path, task string
	at         int64 // Unix nanoseconds; 0 as soon as the time has come
}

// An item is one delivery that waits or runs.
type item[M parcel] struct {
	msg  M
	key  key
	try  try
	next *item[M] // the next one in the line
	pos  int      // index in the agenda; -1: in the line or running
}

// A backlog holds the waiting deliveries: a first-in, first-out line of those that may start
// now, and an agenda of those with a time in the future. A sweep therefore runs behind the
// whole line (R10). A backlog is not safe for concurrent use: its lane locks.
type backlog[M parcel] struct {
	head, tail *item[M]
	agenda     agenda[M]
	index      map[key]*item[M]
	size       int
}

func (b *backlog[M]) find(k key) *item[M] {
	if k == (key{}) {
		return nil
	}
	return b.index[k]
}

// covers reports whether a waiting delivery already does the work of it. A job in its
// backoff counts, and loses its backoff: the new hint says that the record has changed, and
// under the name of the failed job a turn can take over its own lease (R3).
func (b *backlog[M]) covers(it *item[M]) bool {
	old := b.find(it.key)
	if old == nil {
		return false
	}
	if old.key.at == 0 && old.pos >= 0 {
		heap.Remove(&b.agenda, old.pos)
		b.enqueue(old)
	}
	return true
}

// put adds an item: to the line if its time has come, else to the agenda.
func (b *backlog[M]) put(it *item[M], now time.Time) {
	b.size++
	if it.key != (key{}) {
		b.index[it.key] = it
	}
	if it.try.at.After(now) {
		heap.Push(&b.agenda, it)
		return
	}
	b.enqueue(it)
}

// pop removes and returns the first item of the line, or returns nil.
func (b *backlog[M]) pop() *item[M] {
	it := b.head
	if it == nil {
		return nil
	}
	b.head, it.next = it.next, nil
	if b.head == nil {
		b.tail = nil
	}
	b.size--
	delete(b.index, it.key)
	return it
}

// promote moves the items whose time has come from the agenda to the end of the line. It
// drops an item that another one covers.
func (b *backlog[M]) promote(now time.Time) {
	for len(b.agenda) > 0 && !b.agenda[0].try.at.After(now) {
		it := heap.Pop(&b.agenda).(*item[M])
		if it.key.at != 0 {
			delete(b.index, it.key)
			it.key.at = 0
			if b.covers(it) {
				b.size--
				continue
			}
			b.index[it.key] = it
		}
		b.enqueue(it)
	}
}

func (b *backlog[M]) enqueue(it *item[M]) {
	it.pos = -1
	if b.tail == nil {
		b.head = it
	} else {
		b.tail.next = it
	}
	b.tail = it
}

// agenda is a heap by time.
type agenda[M parcel] []*item[M]

func (a agenda[M]) Len() int           { return len(a) }
func (a agenda[M]) Less(i, j int) bool { return a[i].try.at.Before(a[j].try.at) }

func (a agenda[M]) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].pos, a[j].pos = i, j
}

// Push is called by container/heap.
func (a *agenda[M]) Push(x any) {
	it := x.(*item[M])
	it.pos = len(*a)
	*a = append(*a, it)
}

// Pop is called by container/heap.
func (a *agenda[M]) Pop() any {
	last := len(*a) - 1
	it := (*a)[last]
	(*a)[last] = nil
	*a = (*a)[:last]
	it.pos = -1
	return it
}
