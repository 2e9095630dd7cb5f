package main_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"errand/shared/lab/conformance"
	"errand/shared/lab/postgres"
)

// alone is the environment of a single process on a database.
func alone(t *testing.T, store string) []string {
	return []string{"ERRAND_STORE=" + store, "ERRAND_FILES=file:files", "ERRAND_KEYS=" + newKeys(t)}
}

// A process with a local queue wants its database alone. It is refused beside another one,
// and beside processes that share the database, and these are refused beside it.
func TestSecondProcessOnPostgresIsRefused(t *testing.T) {
	t.Parallel()
	store := postgres.Database(t)
	local := alone(t, store)
	refused := func(env []string, remedy string) {
		t.Helper()
		other := &process{t: t, program: "cardserver", dir: t.TempDir(), port: freePort(t), env: env}
		if out := refusal(t, other); !strings.Contains(out, "ERRAND_STORE") || !strings.Contains(out, remedy) {
			t.Errorf("the second process says %q, want something about %s", out, remedy)
		}
	}

	c := newCloud(t, cloudConfig{store: store})
	shared := c.cardserver.env
	refused(local, "ERRAND_QUEUE=cloudtasks:")
	c.kill()

	start(t, local...)
	refused(local, "stop them")
	refused(shared, "ERRAND_QUEUE=local")
}

// TestPostgresKilledAtAnyMoment is TestCloudKilledAtAnyMoment for two replicas of each program
// and their database. A replica dies alone, and the other one goes on. The database dies with
// its memory, sometimes with a replica that is dead, too. So an id that a client has got is of
// a task that was on the disk before.
func TestPostgresKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	messages, kills := conformance.Size(100, 1000), conformance.Size(2, 40)
	server := postgres.Start(t)
	hooks := newReceiver(t)
	c := newCloud(t, cloudConfig{store: server.Database(), replicas: true, env: []string{"ERRAND_MODEL=standin:delay=3ms", hooks.allow()}})
	l := newLoad(t, c, hooks, messages)
	killed := map[string]int{}

	disturbed := l.disturb(kills, func() {
		for i, at := range rand.Perm(4) {
			time.Sleep(time.Duration(20+rand.IntN(260)) * time.Millisecond) // the moment of the crash
			if at == 3 {
				server.Kill()
				server.Again()
				killed["database"]++
				continue
			}
			p := c.programs()[at+3*((killed["database"]+i)%2)]
			p.kill()
			p.start()
			killed[p.program]++
		}
	})

	l.send(4 * time.Duration(kills) * 250 * time.Millisecond)
	<-disturbed
	l.verdict(patience)
	for _, name := range []string{"cardserver", "worker", "functions", "database"} {
		if killed[name] < kills {
			t.Errorf("%s was killed %d times, want %d", name, killed[name], kills)
		}
	}
	t.Logf("killed: %v", killed)
}
