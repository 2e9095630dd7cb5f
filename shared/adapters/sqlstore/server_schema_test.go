package sqlstore_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"errand/shared/adapters/sqlstore"
	"errand/shared/lab/postgres"
	"errand/shared/task"
)

// asked returns the integer that a query of a database results in.
func asked(t testing.TB, url, query string) (n int64) {
	t.Helper()
	c := connected(t, url)
	defer c.Close(t.Context()) // there may be many questions
	if err := c.QueryRow(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// superuser is the URL of a database for the role that may do all.
func superuser(url string) string { return strings.Replace(url, "errand@", "postgres@", 1) }

// notOpened opens a database that must be refused.
func notOpened(t *testing.T, url string, opts sqlstore.Options) error {
	t.Helper()
	db, err := sqlstore.OpenServer(t.Context(), sqlstore.Server{Spec: url}, opts)
	if err == nil {
		t.Fatal("opened", db.Close())
	}
	return err
}

const tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"

// A process of the version before goes on while the database is migrated and afterwards. It
// cannot be started again.
func TestTwoVersionsAtOnce(t *testing.T) {
	url := postgres.Database(t)
	before := openServer(t, sqlstore.Server{Spec: url}, sqlstore.Options{})
	create(t, before, "a") // so that its statements are prepared
	use(t, before, before, "b")

	later := sqlstore.WithMigrations(sqlstore.Options{}, "ALTER TABLE task ADD COLUMN later BIGINT; CREATE INDEX task_later ON task (later)")
	after := openServer(t, sqlstore.Server{Spec: url}, later)
	use(t, before, after, "c")
	use(t, after, before, "d")

	if err := notOpened(t, url, sqlstore.Options{}); !errors.Is(err, sqlstore.ErrNewerThere) {
		t.Errorf("the version before is refused with %v", err)
	}
	use(t, before, after, "e")
}

// use writes with one store and reads and watches with another one.
func use(t *testing.T, writes, reads *sqlstore.DB, id string) {
	t.Helper()
	r := create(t, writes, id)
	versions := watched(t, reads, id)
	next(t, versions, r.Version)

	r, err := writes.Commit(t.Context(), changed(r, 1))
	if err != nil {
		t.Fatal(err)
	}
	next(t, versions, r.Version)

	if got, err := reads.Load(t.Context(), id); err != nil || got.Version != r.Version || got.Attempt != 1 {
		t.Errorf("Load(%s) = version %d, %v, want %d", id, got.Version, err, r.Version)
	}
	page, err := reads.List(t.Context(), task.Query{Owner: "someone", Limit: 100, Count: true})
	if err != nil || len(page.Records) == 0 || page.Records[0].ID() != id || page.Total != len(page.Records) {
		t.Errorf("List = %d records of %d, %v, want %s first", len(page.Records), page.Total, err, id)
	}
}

func TestForeignDatabaseIsRefusedUnchanged(t *testing.T) {
	url := postgres.Database(t)
	script(t, url, "CREATE TABLE theirs (x INT)")
	if err := notOpened(t, url, sqlstore.Options{}); !errors.Is(err, sqlstore.ErrOccupied) {
		t.Errorf("refused with %v", err)
	}
	if n := asked(t, url, tables); n != 1 {
		t.Errorf("there are %d tables, want the one of before", n)
	}
}

func TestDatabaseWithAnotherEncodingIsRefused(t *testing.T) {
	url := postgres.Database(t)
	latin := strings.Replace(url, "/db", "/latin", 1)
	name := latin[strings.Index(latin, "latin"):strings.Index(latin, "?")]
	script(t, superuser(url), "CREATE DATABASE "+name+" OWNER errand ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
	if err := notOpened(t, latin, sqlstore.Options{}); !errors.Is(err, sqlstore.ErrEncoding) {
		t.Errorf("refused with %v", err)
	}
}

func TestFailedServerMigrationChangesNothing(t *testing.T) {
	url := postgres.Database(t)
	create(t, openServer(t, sqlstore.Server{Spec: url}, sqlstore.Options{}), "a")

	later := sqlstore.WithMigrations(sqlstore.Options{}, "ALTER TABLE task ADD COLUMN later BIGINT", "CREATE TABLE more (x INT); CREATE TABLE kv (x INT)")
	if err := notOpened(t, url, later); !strings.Contains(err.Error(), fmt.Sprint("schema ", sqlstore.ServerSchema+2)) {
		t.Errorf("refused with %v", err)
	}
	left := `SELECT (SELECT count(*) FROM pg_attribute WHERE attname = 'later') + (SELECT count(*) FROM pg_tables WHERE tablename = 'more')
		+ (SELECT max(version) FROM errand_schema) - ` + fmt.Sprint(sqlstore.ServerSchema)
	if n := asked(t, url, left); n != 0 {
		t.Errorf("%d parts of the migration are left", n)
	}
	use(t, openServer(t, sqlstore.Server{Spec: url}, sqlstore.Options{}), openServer(t, sqlstore.Server{Spec: url}, sqlstore.Options{}), "b")
}

// Processes that are started together make the tables once.
func TestEmptyDatabaseIsOpenedByManyAtOnce(t *testing.T) {
	url := postgres.Database(t)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			db, err := sqlstore.OpenServer(t.Context(), sqlstore.Server{Spec: url}, sqlstore.Options{})
			if err != nil {
				t.Error(err)
				return
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := asked(t, url, "SELECT count(*) FROM errand_schema"); n != sqlstore.ServerSchema {
		t.Errorf("%d migrations ran, want %d", n, sqlstore.ServerSchema)
	}
}

const validIndexes = "SELECT count(*) FROM pg_index WHERE indisvalid AND indexrelid IN ('task_open'::regclass, 'task_dead_whose'::regclass)"

// A start makes the indexes that are missing, and those whose making has failed.
func TestMissingIndexesAreMade(t *testing.T) {
	url := postgres.Database(t)
	db := openServer(t, sqlstore.Server{Spec: url}, sqlstore.Options{})
	batch := task.BatchID("someone", "nightly")
	create(t, db, task.ItemID(batch, 7))
	script(t, superuser(url), "DROP INDEX task_open; UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'task_dead_whose'::regclass")

	again := openServer(t, sqlstore.Server{Spec: url}, sqlstore.Options{})
	if n := asked(t, url, validIndexes); n != 2 {
		t.Errorf("%d indexes are valid, want 2", n)
	}
	if o, err := again.Open(t.Context(), batch, 10); err != nil || o != (task.Open{N: 1, Lowest: 7}) {
		t.Errorf("Open = %+v, %v, want line 7", o, err)
	}
}

// waitingFor waits until so many sessions of the database wait in a statement for a lock.
func waitingFor(t *testing.T, url, statement string, want int64) {
	t.Helper()
	query := fmt.Sprintf("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%s'", statement)
	for end := time.Now().Add(patience); asked(t, url, query) != want; {
		if time.Now().After(end) {
			t.Fatalf("not %d sessions wait in %s", want, statement)
		}
	}
}

// opening opens a store in the background, and returns a function that waits for it.
func opening(t *testing.T, url string) (wait func()) {
	t.Helper()
	ended := make(chan error, 1)
	go func() {
		db, err := sqlstore.OpenServer(t.Context(), sqlstore.Server{Spec: url}, sqlstore.Options{})
		if err == nil {
			err = db.Close()
		}
		ended <- err
	}()
	return func() {
		t.Helper()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// Processes read and write while a start makes an index, which waits for a transaction that
// has not ended.
func TestProcessesGoOnWhileAnIndexIsMade(t *testing.T) {
	url := postgres.Database(t)
	before := openServer(t, sqlstore.Server{Spec: url}, sqlstore.Options{})
	create(t, before, "a")
	script(t, url, "DROP INDEX task_open")
	long := connected(t, url)
	run(t, long, "BEGIN; UPDATE task SET stamp = stamp WHERE id = 'a'")

	wait := opening(t, url)
	waitingFor(t, url, "CREATE INDEX%", 1)
	use(t, before, before, "b")
	run(t, long, "COMMIT")
	wait()
	if n := asked(t, url, validIndexes); n != 2 {
		t.Errorf("%d indexes are valid, want 2", n)
	}
}

// A process of the first version waits for the lock of a migration in a statement, for which an
// index that is being made waits in turn. The server ends one of them, and both go on.
func TestIndexIsMadeBesideAProcessOfTheFirstVersion(t *testing.T) {
	url := postgres.Database(t)
	create(t, openServer(t, sqlstore.Server{Spec: url}, sqlstore.Options{}), "a")
	script(t, url, "DROP INDEX task_open")
	long, first := connected(t, url), connected(t, url)
	run(t, long, "BEGIN; UPDATE task SET stamp = stamp WHERE id = 'a'")

	wait := opening(t, url)
	waitingFor(t, url, "CREATE INDEX%", 1)
	locked := make(chan error, 1)
	go func() {
		_, err := first.Exec(t.Context(), "SELECT pg_advisory_lock($1)", int64(sqlstore.LockKey+1))
		locked <- errors.Join(err, first.Close(t.Context()))
	}()
	waitingFor(t, url, "SELECT pg_advisory_lock(%", 1)
	run(t, long, "COMMIT")

	if err := <-locked; err != nil {
		t.Logf("the first version was ended: %v", err)
	}
	wait()
	if n := asked(t, url, validIndexes); n != 2 {
		t.Errorf("%d indexes are valid, want 2", n)
	}
}
