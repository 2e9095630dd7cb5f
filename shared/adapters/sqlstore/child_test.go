package sqlstore_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"errand/shared/adapters/sqlstore"
	"errand/shared/kv"
	"errand/shared/task"
)

// TestMain skips TestChild, except in the processes that child starts.
func TestMain(m *testing.M) {
	flag.Parse()
	if flag.NArg() == 0 && flag.Lookup("test.skip").Value.String() == "" {
		if err := flag.Set("test.skip", "^TestChild$"); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// child is a command that runs this test binary as another process, with one of the scenes
// of TestChild.
func child(t *testing.T, scene string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exec.CommandContext(t.Context(), self, append([]string{"-test.run=^TestChild$", "--", scene}, args...)...)
}

// TestChild runs in a child process.
func TestChild(t *testing.T) {
	args := flag.Args()
	if len(args) < 2 {
		t.Fatal("runs only in a process of its own; leave -skip out")
	}
	db, err := sqlstore.Open(context.Background(), args[1], sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	switch args[0] {
	case "open":
	case "write":
		writeForEver(db, args[2])
	case "full":
		fillTheDisk(t, db)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// writeForEver creates and commits records, and prints each acknowledged one, until the
// process is killed.
func writeForEver(db *sqlstore.DB, prefix string) {
	var wg sync.WaitGroup
	for g := range 32 {
		wg.Go(func() {
			for n := 0; ; n++ {
				r, err := db.Create(context.Background(), plain(fmt.Sprintf("%s-%d-%d", prefix, g, n), 0))
				e := kv.Entry{Key: killed(r.ID()), Value: []byte("0")}

				for try := 1; err == nil && try < 3; try++ {
					if e, err = db.KV().Put(context.Background(), e); err != nil {
						break
					}
					say(r)
					e.Value = []byte(strconv.Itoa(try))
					r, err = db.Commit(context.Background(), changed(r, try))
				}

				if err == nil {
					_, err = db.KV().Put(context.Background(), e)
				}

				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(3)
				}

				say(r)
			}
		})
	}

	wg.Wait()
}

// killed is the key of the entry that follows each write of a task.
func killed(id string) string { return "kill/" + id }

func say(r task.Record) {
	if _, err := os.Stdout.WriteString(r.ID() + " " + strconv.Itoa(r.Attempt) + "\n"); err != nil {
		os.Exit(3)
	}
}

// fillTheDisk limits every file, including the log, to 1 MiB, and later removes the limit.
func fillTheDisk(t *testing.T, db *sqlstore.DB) {
	signal.Ignore(syscall.SIGXFSZ)
	var whole syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &whole); err != nil {
		t.Fatal(err)
	}
	small := whole
	small.Cur = 1 << 20
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &small); err != nil {
		t.Fatal(err)
	}
	fill(t, db, func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &whole); err != nil {
			t.Fatal(err)
		}
	})
}

// plain is a small record whose attempt counts its changes.
func plain(id string, attempt int) task.Record {
	r := task.Record{Schema: task.Schema, Owner: "someone", Lane: task.Turns, Attempt: attempt}
	r.Task = taskOf(id, time.Now())
	return r
}

// changed is the next version of r.
func changed(r task.Record, attempt int) task.Record {
	next := plain(r.ID(), attempt)
	next.Version = r.Version
	return next
}
