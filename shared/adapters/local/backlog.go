package local

import (
	"container/heap"
	"container/list"
	"fmt"
	"time"

	"errand/shared/share"
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
	pos  int      // index in the agenda; -1: in a line or running
}

// A line holds an owner's deliveries that may start now, first in, first out.
type line[M parcel] struct {
	owner      string
	head, tail *item[M]
}

// A backlog holds the waiting deliveries: a line for each owner, of those that may start now,
// and an agenda of those with a time in the future. The lines are served in turn (R18), and
// an empty line does not exist. A backlog is not safe for concurrent use: its lane locks.
type backlog[M parcel] struct {
	lines  map[string]*list.Element // by owner
	turns  list.List                // of *line[M]; the first one is served next
	agenda agenda[M]
	index  map[key]*item[M]
	size   int
	places *share.Pool // of the deliveries that wait or run
}

func newBacklog[M parcel](l Limits) backlog[M] {
	return backlog[M]{
		lines: map[string]*list.Element{}, index: map[key]*item[M]{},
		places: share.NewPool(2 * int64(l.Capacity+l.Slots)), // one owner alone gets half
	}
}

// reserve takes places for the items of one owner, for all of them or for none. A delivery
// keeps its place until leave, however often it is tried.
func (b *backlog[M]) reserve(items []*item[M]) error {
	if len(items) == 0 {
		return nil
	}
	if err := b.places.Take(items[0].msg.owner(), int64(len(items))); err != nil {
		return fmt.Errorf("%w: %w", errFull, err)
	}
	return nil
}

// leave gives back the place of a delivery that is not tried again.
func (b *backlog[M]) leave(it *item[M]) { b.places.Release(it.msg.owner(), 1) }

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

// put adds an item: to its owner's line if its time has come, else to the agenda.
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

// pop removes and returns the first item of the first line whose owner take admits, or
// returns nil. That line becomes the last one. A line that was passed over keeps its place.
// After share.ErrFull no further owner is asked.
func (b *backlog[M]) pop(take func(owner string) error) *item[M] {
	for e := b.turns.Front(); e != nil; e = e.Next() {
		l := e.Value.(*line[M])
		switch take(l.owner) {
		case share.ErrFull:
			return nil
		case share.ErrOwn:
			continue
		}

		it := l.head
		l.head, it.next = it.next, nil
		if l.head == nil {
			b.turns.Remove(e)
			delete(b.lines, l.owner)
		} else {
			b.turns.MoveToBack(e)
		}

		b.size--
		delete(b.index, it.key)
		return it
	}
	return nil
}

// promote moves the items whose time has come from the agenda to the ends of their lines. It
// drops an item that another one covers.
func (b *backlog[M]) promote(now time.Time) {
	for len(b.agenda) > 0 && !b.agenda[0].try.at.After(now) {
		it := heap.Pop(&b.agenda).(*item[M])
		if it.key.at != 0 {
			delete(b.index, it.key)
			it.key.at = 0
			if b.covers(it) {
				b.size--
				b.leave(it)
				continue
			}
			b.index[it.key] = it
		}
		b.enqueue(it)
	}
}

func (b *backlog[M]) enqueue(it *item[M]) {
	it.pos = -1
	owner := it.msg.owner()
	e := b.lines[owner]
	if e == nil {
		b.lines[owner] = b.turns.PushBack(&line[M]{owner: owner, head: it, tail: it})
		return
	}
	l := e.Value.(*line[M])
	l.tail.next, l.tail = it, it
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
