package main_test

import (
	"bufio"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"errand/shared/lab/conformance"
	"errand/shared/lab/fake"
)

// questions is a manifest of n lines.
func questions(n int) string {
	var s strings.Builder
	for i := range n {
		fmt.Fprintf(&s, `{"id":"id-%d","text":"question %d"}`+"\n", i+1, i+1)
	}
	return s.String()
}

// A deployment of three programs answers every line in order, on each of its databases. The
// same manifest again is the same batch, with the same bytes.
func TestCloudBatch(t *testing.T) {
	t.Parallel()
	lines := conformance.Long(60, 500, 5000)
	storage := fake.StartStorage(t, "errand-files")
	onEachCloud(t, func(t *testing.T, start starter) {
		c := start(t, "ERRAND_FILES=gs:errand-files@"+storage.Addr)
		began := time.Now()
		url, manifest := c.url()+"/batches?name=nightly", questions(lines)
		id := batch(t, http.StatusAccepted, "POST", url, "application/jsonl", manifest).ID
		at := c.url() + "/batches/" + id
		v := batchUntil(t, at, "complete", complete)
		t.Logf("%d lines in %v", lines, time.Since(began))
		if v.State != "completed" || v.Completed != lines || v.Failed != 0 {
			t.Errorf("the batch is %+v", v)
		}

		answered, text := numbers(t, at+"/results")
		for i, n := range answered {
			if n != i+1 {
				t.Fatalf("line %d comes where line %d should", n, i+1)
			}
		}
		if len(answered) != lines {
			t.Errorf("%d lines have an answer", len(answered))
		}

		if again := batch(t, http.StatusOK, "POST", url, "application/jsonl", manifest); again.ID != id || !again.Complete {
			t.Errorf("sent again it is %+v", again)
		}
		if _, again := numbers(t, at+"/results"); again != text {
			t.Error("the results have changed")
		}
	})
}

// The memory of the program does not grow with the lines of a batch: not while the manifest is
// received, while it is read, while items run, and while the files of a batch are written that was
// canceled with most of its lines unfed.
func TestManyLinesTakeNoMemory(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the memory of a process is read from /proc")
	}
	t.Parallel()
	lines, run, most := conformance.Long(100_000, 200_000, 1_000_000), conformance.Long(300, 2000, 20_000), 120<<20
	v := &victim{process: start(t, "GOMEMLIMIT=100MiB")}
	began := time.Now()
	phase := func(name string) {
		if got := v.figure(fmt.Sprintf("%v: %s", time.Since(began).Round(time.Second), name)); got > most {
			t.Errorf("%s: %d MiB, want at most %d", name, got>>20, most>>20)
		}
	}

	id := batch(t, http.StatusAccepted, "POST", v.url()+"/batches", "application/jsonl", questions(lines)).ID
	phase("received")
	at := v.url() + "/batches/" + id
	batchUntil(t, at, "read", func(b batchView) bool { return b.Lines != nil })
	phase("read")
	batchUntil(t, at, "far enough", func(b batchView) bool { return b.Completed >= run })
	phase("run")

	ask(t, "POST", v.url()+"/tasks/"+id+":cancel", "application/json", "{}")
	last := batchUntil(t, at, "complete", complete)
	phase("canceled, with its files")
	if last.Completed < run || last.Completed+last.Failed != lines {
		t.Errorf("in the end it is %+v", last)
	}
	for _, file := range []string{"/results", "/errors"} {
		want := map[string]int{"/results": last.Completed, "/errors": last.Failed}[file]
		if got := rows(t, at+file); got != want {
			t.Errorf("%s has %d lines, want %d", file, got, want)
		}
	}
	phase("read by its owner")
}

// rows counts the lines of an answer.
func rows(t *testing.T, url string) (n int) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	s := bufio.NewScanner(res.Body)
	for s.Scan() {
		n++
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	return n
}
