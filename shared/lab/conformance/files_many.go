package conformance

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"errand/shared/files"
)

// While a file of large bytes passes through, at most held bytes may be in memory.
const (
	large = 20 << 20
	held  = 5 << 20
)

func putDoesNotHoldTheContent(t *testing.T, b FilesBench) {
	content := filled(large, 9)
	before := b.Arrived()
	most := int64(0)
	s := &source{content: content, n: large, step: 1 << 20, err: io.EOF, tell: func(given int) {
		most = max(most, int64(given)-(b.Arrived()-before))
	}}
	if _, err := b.Files.Put(t.Context(), files.Upload{Name: "large"}, s); err != nil {
		t.Fatal(err)
	}
	if most > held {
		t.Errorf("%d bytes were read before they arrived, want at most %d", most, held)
	}
	fileHolds(t, b.Files, "large", content)
}

func getDoesNotHoldTheContent(t *testing.T, b FilesBench) {
	content := filled(large, 9)
	putFile(t, b.Files, files.Upload{Name: "large"}, content)
	want := hexSum(content)
	content = nil
	_, r, err := b.Files.Get(t.Context(), "large")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	before, most := live(), uint64(0)
	h, buf := sha256.New(), make([]byte, 1<<20)
	for err == nil {
		var n int
		n, err = io.ReadFull(r, buf)
		h.Write(buf[:n])
		most = max(most, live())
	}
	if got := hex.EncodeToString(h.Sum(nil)); err != io.EOF || got != want {
		t.Errorf("the content has the sum %s, %v, want %s", got, err, want)
	}
	if most > before+held {
		t.Errorf("during the read %d more bytes were in use, want at most %d", most-before, held)
	}
}

// live returns the size of the live heap.
func live() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// oneOfManyPutsWins puts one name concurrently, with concurrent readers. Every reader gets
// one whole content. In the end there is one file and no orphan.
func oneOfManyPutsWins(t *testing.T, b FilesBench) {
	const name = "d/f"
	stores := []*files.Store{b.Files}
	if b.Other != nil {
		stores = append(stores, b.Other)
	}

	putFile(t, b.Files, files.Upload{Name: name}, bytes.Repeat([]byte{1}, 1000))
	var writers, readers sync.WaitGroup
	var over atomic.Bool

	for w := range 6 {
		writers.Go(func() {
			for i := range 8 {
				content := bytes.Repeat([]byte{byte(10*w + i)}, 1000*w+i+1)
				if _, err := stores[w%len(stores)].Put(t.Context(), files.Upload{Name: name, Owner: fmt.Sprint(len(content))}, bytes.NewReader(content)); err != nil {
					t.Errorf("Put = %v", err)
				}
			}
		})
	}

	for r := range 4 {
		readers.Go(func() {
			for !over.Load() {
				content, info, err := get(t.Context(), stores[r%len(stores)], name)
				if info.Owner != "" && info.Owner != fmt.Sprint(info.Size) {
					t.Errorf("the info mixes two files: %+v", info)
				}

				if err != nil {
					// A service may cut off a read of a deleted object. Nothing else may fail.
					if b.Other == nil || errors.Is(err, files.ErrCorrupt) || errors.Is(err, files.ErrNotFound) {
						t.Errorf("Get = %v", err)
					}
					continue
				}

				if int64(len(content)) != info.Size || len(bytes.Trim(content, string(content[:1]))) != 0 {
					t.Errorf("Get returns a mixed or partial content: %d bytes of %d", len(content), info.Size)
				}
			}
		})
	}

	writers.Wait()
	over.Store(true)
	readers.Wait()
	if left := b.Objects(); len(left) != 2 || !strings.HasPrefix(left[0], name+"+") || left[1] != name+"+info" {
		t.Errorf("in the end there is %q, want the info and its content", left)
	}
	if _, _, err := get(t.Context(), b.Files, name); err != nil {
		t.Errorf("in the end Get = %v", err)
	}
}

// putsAndDeletesAtOnce must leave a whole file or none, and no orphan.
func putsAndDeletesAtOnce(t *testing.T, b FilesBench) {
	const name = "d/f"
	stores := []*files.Store{b.Files, b.Files}
	if b.Other != nil {
		stores[1] = b.Other
	}

	var all sync.WaitGroup
	for w := range 3 {
		all.Go(func() {
			for i := range 20 {
				if _, err := stores[w%2].Put(t.Context(), files.Upload{Name: name}, bytes.NewReader(filled(100*i, byte(w)))); err != nil {
					t.Errorf("Put = %v", err)
				}
			}
		})

		all.Go(func() {
			for range 20 {
				if err := stores[1-w%2].Delete(t.Context(), name); err != nil {
					t.Errorf("Delete = %v", err)
				}
			}
		})
	}

	all.Wait()
	_, _, err := get(t.Context(), b.Files, name)
	if left := b.Objects(); !(err == nil && len(left) == 2 || errors.Is(err, files.ErrNotFound) && len(left) == 0) {
		t.Errorf("in the end there is %q, and Get = %v", left, err)
	}
}

// readingGoesOnOrFails changes a file during a read.
func readingGoesOnOrFails(t *testing.T, b FilesBench) {
	content, next := filled(8<<20, 1), filled(100, 2)
	for name, change := range map[string]func(context.Context, string) error{
		"deleted": b.Files.Delete,
		"cleared": func(ctx context.Context, name string) error { return b.Files.DeleteAll(ctx, "d") },
		"replaced": func(ctx context.Context, name string) error {
			_, err := b.Files.Put(ctx, files.Upload{Name: name}, bytes.NewReader(next))
			return err
		},
	} {
		file := "d/" + name
		putFile(t, b.Files, files.Upload{Name: file}, content)
		_, r, err := b.Files.Get(t.Context(), file)
		if err != nil {
			t.Fatal(err)
		}

		first := make([]byte, 1)
		if _, err := io.ReadFull(r, first); err != nil {
			t.Fatal(err)
		}
		if err := change(t.Context(), file); err != nil {
			t.Errorf("%s during the read: %v", name, err)
		}

		rest, err := io.ReadAll(r)
		if err == nil && !bytes.Equal(append(first, rest...), content) {
			t.Errorf("%s during the read: %d bytes, want all, or an error", name, 1+len(rest))
		}

		r.Close()
		if want := next; name == "replaced" {
			fileHolds(t, b.Files, file, want)
		} else {
			fileHolds(t, b.Files, file, nil)
		}
	}
}
