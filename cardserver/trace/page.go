package trace

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"strconv"
	"strings"

	"errand/shared/kv"
	"errand/shared/task"
	"errand/worker/steps"
)

// A Cursor says where a page begins: after the step with a number, or after a stored result
// of the agent's own code. The zero Cursor is the beginning.
type Cursor struct {
	step   int
	result string // the end of its key: tTURN/NAME
}

var (
	resultKey = regexp.MustCompile(`^t([0-9]{6,9})/([nh]\.[a-z0-9._-]{1,64})$`)
	stepKey   = regexp.MustCompile(`^([0-9]{6,9})(?:\.e([0-9]{1,18}))?$`)
)

// ParseCursor reads the parameter after.
func ParseCursor(s string) (Cursor, error) {
	if resultKey.MatchString(s) {
		return Cursor{result: s}, nil
	}
	if n, err := strconv.Atoi(s); err == nil && len(s) <= 9 && n >= 0 {
		return Cursor{step: n}, nil
	}
	return Cursor{}, errors.New("neither the number of a step nor the next of a page")
}

// key is the key after which package kv lists the entries of the page.
func (c Cursor) key(r task.Record) string {
	switch {
	case c.result != "":
		return r.StepPrefix() + c.result
	case c.step > 0:
		return r.StepKey(c.step) + ".z" // after its large reply too
	}
	return ""
}

// A Page is what package kv has for one page of a trace: the steps From+1 to Through, or those
// of them that are kept, and results.
type Page struct {
	From, Through int
	Kept          map[int]task.Kept // by number
	Args          []json.RawMessage // of the calls of the open step, if its reply is too large for the record
	Results       []Result
	Next          string // where the next page begins; empty: there is none
}

// ReadPage reads a page with one list. It reads the open step by its key, if the list ends
// just before it: then a short task has all its steps in the first page. Entries that cannot
// be read, or that have another owner, are left out. It retries nothing.
func ReadPage(ctx context.Context, store kv.Store, r task.Record, c Cursor) (Page, error) {
	p := Page{From: c.step, Through: c.step, Kept: map[int]task.Kept{}}
	if c.result != "" {
		p.From, p.Through = r.Steps, r.Steps
	}

	list, err := store.List(ctx, r.StepPrefix(), c.key(r), MaxEntries)
	if err != nil {
		return p, err
	}
	for _, e := range list {
		p.take(r, e)
	}

	open := r.Step != nil && r.Step.Number == r.Steps
	switch {
	case len(list) == 0, len(p.Results) > 0, p.Through >= r.Steps:
	case open && p.Through == r.Steps-1:
		e, err := store.Get(ctx, r.StepKey(r.Steps))
		if err == nil {
			p.take(r, e)
		} else if !errors.Is(err, kv.ErrNotFound) {
			return p, err
		}
		p.Next = strconv.Itoa(r.Steps)
	default:
		return p, nil // there are more steps
	}

	p.Through = max(p.Through, r.Steps)
	return p, p.readLarge(ctx, store, r)
}

// readLarge reads the arguments of the open step, if neither the record nor its entry has them.
func (p *Page) readLarge(ctx context.Context, store kv.Store, r task.Record) error {
	s := r.Step
	if s == nil || s.Hash == "" || s.Number <= p.From || p.Args != nil {
		return nil
	}
	if _, kept := p.Kept[s.Number]; kept {
		return nil
	}
	e, err := store.Get(ctx, r.LargeKey(*s))
	if errors.Is(err, kv.ErrNotFound) {
		return nil
	}
	if err == nil {
		p.take(r, e)
	}
	return err
}

// take takes an entry.
func (p *Page) take(r task.Record, e kv.Entry) {
	key, own := strings.TrimPrefix(e.Key, r.StepPrefix()), e.Owner == r.Owner
	if m := resultKey.FindStringSubmatch(key); m != nil {
		p.takeResult(m[1], m[2], e, own)
		p.Next = key
		return
	}

	m := stepKey.FindStringSubmatch(key)
	if m == nil {
		return
	}
	number, _ := strconv.Atoi(m[1])
	p.Through, p.Next = max(p.Through, number), strconv.Itoa(number)

	switch s := r.Step; {
	case !own:
	case m[2] == "":
		if k, err := task.DecodeKept(e.Value); err == nil && k.Number == number {
			p.Kept[number] = k
		}
	case s != nil && s.Number == number && strconv.FormatInt(s.Epoch, 10) == m[2]:
		var l task.Large
		if json.Unmarshal(e.Value, &l) == nil {
			p.Args = l.Args
		}
	}
}

func (p *Page) takeResult(turn, name string, e kv.Entry, own bool) {
	res := Result{Name: name}
	res.Turn, _ = strconv.Atoi(turn)
	if s, err := steps.Read(e); err == nil && own {
		res.Name, res.Result = brief(s.Name), content(s.Result, MaxContent)
	}
	p.Results = append(p.Results, res)
}
