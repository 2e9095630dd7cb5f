package turn_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"errand/shared/lab/world"
)

// TestMain skips TestChild, except in the processes that TestPoisonAmongInnocents starts.
func TestMain(m *testing.M) {
	flag.Parse()
	if flag.NArg() == 0 && flag.Lookup("test.skip").Value.String() == "" {
		if err := flag.Set("test.skip", "^TestChild$"); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// poisoned is the exit code of a process that a turn has killed.
const poisoned = 66

// A turn that kills its process every time fails after few deaths. The turns beside it, which
// die with it, complete.
func TestPoisonAmongInnocents(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}

	b := newBench(t, template("x"))
	const innocents = 7
	ids := make([]string, 0, innocents+1)
	for i := range innocents {
		ids = append(ids, b.send(fmt.Sprint("m", i), "innocent", "").ID())
	}
	ids = append(ids, b.send("p", "poison", "").ID())
	b.Close()

	deaths := 0
	for {
		out, err := exec.CommandContext(t.Context(), self, append([]string{"-test.run=^TestChild$", "--", b.Path}, ids...)...).CombinedOutput()
		if err == nil {
			break
		}
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != poisoned {
			t.Fatalf("%v\n%s", err, out)
		}
		if deaths++; deaths > b.Rules.Attempts+1 {
			t.Fatalf("the poison has killed %d processes", deaths)
		}
	}

	end := newBenchOn(t, b.Path, time.Now(), template("x"))
	for i, id := range ids {
		want := a2a.TaskStateCompleted
		if i == innocents {
			want = a2a.TaskStateFailed
		}
		if r := end.Load(id); r.State() != want {
			t.Errorf("turn %d is %s after %d deaths, want %s", i, r.State(), r.Deaths, want)
		}
	}
	t.Logf("%d processes died", deaths)
}

// TestChild runs all turns of a file in a child process, until they have ended or one of them
// has killed it.
func TestChild(t *testing.T) {
	args := flag.Args()
	if len(args) < 2 {
		t.Fatal("runs only in a process of its own; leave -skip out")
	}

	w := world.New(t, world.Config{Path: args[0]})
	w.Rules.Parks = []time.Duration{10 * time.Millisecond, 20 * time.Millisecond, 30 * time.Millisecond}
	b := &bench{World: w, t: t, desk: w.Desk(w.Store)}
	b.worker = b.newWorker(w.Store, execute(func(_ context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		if ec.Message.Parts[0].Text() == "poison" {
			os.Exit(poisoned)
		}
		time.Sleep(20 * time.Millisecond) // a turn takes time, so that it dies with the poison
		yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateCompleted, nil), nil)
	}), time.Millisecond)

	var turns sync.WaitGroup
	for _, id := range args[1:] {
		turns.Go(func() {
			for !b.Load(id).Terminal() {
				time.Sleep(time.Until(b.Load(id).Wake))
				b.deliver(id, "job", 0)
			}
		})
	}
	turns.Wait()
}
