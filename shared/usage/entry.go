package usage

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"errand/shared/kv"
)

// An entry is the value of an entry: the tokens that each process has counted.
type entry struct {
	Tokens map[string]int64 `json:"tokens"`
}

func parse(e kv.Entry) (entry, error) {
	v := entry{}
	if err := json.Unmarshal(e.Value, &v); err != nil {
		return v, fmt.Errorf("reading the tokens of a day: %s: %w", e.Key, err)
	}
	if v.Tokens == nil {
		v.Tokens = map[string]int64{}
	}
	return v, nil
}

// prefix begins the keys of a day's entries. The owner is a hash in it, because names have
// other characters than keys.
func (d dayOf) prefix() string {
	sum := sha256.Sum256([]byte(d.owner))
	owner := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:16])
	return "use/" + strings.ToLower(owner) + "/" + d.day + "/"
}

// tries bounds the writes of an entry that other processes write at the same time.
const tries = 32

// write stores how many tokens this process has counted in a day.
func (m *Meter) write(ctx context.Context, d dayOf, own int64) error {
	err := kv.ErrConflict
	for n := 0; n < tries && errors.Is(err, kv.ErrConflict); n++ {
		err = m.tryWrite(ctx, d, own)
	}
	return err
}

// tryWrite adds this process to the entry as it is now.
func (m *Meter) tryWrite(ctx context.Context, d dayOf, own int64) error {
	began, err := time.Parse(time.DateOnly, d.day)
	if err != nil {
		return err
	}

	e, v := kv.Entry{Key: fmt.Sprint(d.prefix(), m.number), Owner: d.owner}, entry{Tokens: map[string]int64{}}
	switch was, err := m.cfg.KV.Get(ctx, e.Key); {
	case errors.Is(err, kv.ErrNotFound):
	case err != nil:
		return err
	default:
		if v, err = parse(was); err != nil {
			return err
		}
		e.Version = was.Version
	}

	v.Tokens[m.process] = own
	e.Expires = began.Add(kept)
	if e.Value, err = json.Marshal(v); err != nil {
		return err
	}
	_, err = m.cfg.KV.Put(ctx, e)
	return err
}

// refresh reads what other processes have counted, if that is long ago. One call reads, and
// the others wait for it.
func (m *Meter) refresh(ctx context.Context, d dayOf, c *count) error {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}

	m.mu.Lock()
	now, read := m.cfg.Now(), c.read
	m.mu.Unlock()
	if !read.IsZero() && now.Sub(read) < every {
		return nil
	}

	others, err := m.others(ctx, d)
	if err != nil {
		return err
	}

	m.mu.Lock()
	defer m.mu.Unlock()
	c.others, c.read = others, now
	return nil
}

// others sums what other processes have counted in a day.
func (m *Meter) others(ctx context.Context, d dayOf) (int64, error) {
	sum, after := int64(0), ""
	for {
		list, err := m.cfg.KV.List(ctx, d.prefix(), after, entries)
		if err != nil || len(list) == 0 {
			return sum, err
		}

		for _, e := range list {
			v, err := parse(e)
			if err != nil {
				return 0, err
			}
			for process, tokens := range v.Tokens {
				if process != m.process {
					sum += tokens
				}
			}
		}
		after = list[len(list)-1].Key
	}
}
