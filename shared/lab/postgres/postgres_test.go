package postgres_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"errand/shared/lab/postgres"
)

func TestDatabasesAreApart(t *testing.T) {
	one, other := connect(t, postgres.Database(t)), connect(t, postgres.Database(t))
	run(t, one, `CREATE TABLE rows (n int)`)

	var found bool
	const exists = `SELECT EXISTS (SELECT FROM pg_tables WHERE tablename = 'rows')`
	if query(t, one, exists, &found); !found {
		t.Error("a database lacks the table that was made in it")
	}
	if query(t, other, exists, &found); found {
		t.Error("a new database has the table of another one")
	}

	var server, same string
	query(t, one, `SELECT pg_postmaster_start_time()::text`, &server)
	if query(t, other, `SELECT pg_postmaster_start_time()::text`, &same); same != server {
		t.Error("there are two servers, want one for the whole test binary")
	}
}

// Code that counts on the order of bytes, or on the rights of a superuser, fails in tests.
func TestDatabasesAreNoFriendlierThanOthers(t *testing.T) {
	c := connect(t, postgres.Database(t))
	var super bool
	if query(t, c, `SELECT rolsuper FROM pg_roles WHERE rolname = current_user`, &super); super {
		t.Error("the role errand is a superuser")
	}

	var can, linguist bool
	query(t, c, `SELECT current_setting('server_version_num')::int >= 150000 AND EXISTS (SELECT FROM pg_collation WHERE collprovider = 'i')`, &can)
	if query(t, c, `SELECT 'a' < 'B'`, &linguist); linguist != can {
		t.Errorf("text sorts by language: %t; the server can: %t", linguist, can)
	}
}

func TestCommittedRowsSurviveTheServer(t *testing.T) {
	s := postgres.Start(t)
	database := s.Database()
	c := connect(t, database)
	run(t, c, `CREATE TABLE rows (n int)`)
	var want []int

	for i, end := range []struct {
		name string
		end  func()
	}{
		{"killed", s.Kill},
		{"stopped at once", func() { s.Stop("immediate") }},
		{"stopped in order", func() { s.Stop("fast") }},
		{"killed again", s.Kill},
	} {
		c := connect(t, database)
		run(t, c, fmt.Sprintf(`INSERT INTO rows VALUES (%d)`, i))
		want = append(want, i)
		run(t, c, `BEGIN`)
		run(t, c, `INSERT INTO rows VALUES (-1)`)
		end.end()

		if err := c.Ping(t.Context()); err == nil {
			t.Errorf("%s: a connection is still open", end.name)
		}
		if listening(t, database) {
			t.Errorf("%s: a process listens at the port of %s", end.name, database)
		}
		s.Again()

		rows, err := connect(t, database).Query(t.Context(), `SELECT n FROM rows ORDER BY n`)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := pgx.CollectRows(rows, pgx.RowTo[int]); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: the server has the rows %v, want %v; %v", end.name, got, want, err)
		}
	}
}

// A busy process of the server does not notice that the first one is gone.
func TestKillEndsBusyProcesses(t *testing.T) {
	s := postgres.Start(t)
	database := s.Database()
	busy := connect(t, database)
	var pid int
	query(t, busy, `SELECT pg_backend_pid()`, &pid)

	ended := make(chan error, 1)
	go func() {
		_, err := busy.Exec(context.WithoutCancel(t.Context()), `DO 'BEGIN LOOP END LOOP; END'`)
		ended <- err
	}()

	watch, state := connect(t, database), ""
	await(t, "a process is busy", func() bool {
		query(t, watch, fmt.Sprintf(`SELECT state FROM pg_stat_activity WHERE pid = %d`, pid), &state)
		return state == "active"
	})
	s.Kill()

	select {
	case err := <-ended:
		if err == nil {
			t.Error("an endless statement ended without an error")
		}
	case <-time.After(time.Minute):
		t.Fatal("after Kill a process still works")
	}
	s.Again()
}

func TestPasswordIsRequired(t *testing.T) {
	const password = `it's "secret"`
	s := postgres.StartWithPassword(t, password)
	database := s.Database()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}

	for _, given := range []struct {
		user *url.Userinfo
		want string // SQLSTATE
	}{
		{u.User, "28P01"},
		{url.UserPassword("errand", "wrong"), "28P01"},
		{url.UserPassword("errand", password), ""},
	} {
		u.User = given.user
		c, err := pgx.Connect(t.Context(), u.String())
		if err == nil {
			c.Close(t.Context())
		}
		var refused *pgconn.PgError
		if errors.As(err, &refused); err != nil && refused == nil || refused != nil && refused.Code != given.want || err == nil && given.want != "" {
			t.Errorf("%s: %v, want the SQLSTATE %q", u.User, err, given.want)
		}
	}
}

const asChild = "ERRAND_TEST_CHILD"

func TestServersEndWithTheirBinary(t *testing.T) {
	if os.Getenv(asChild) != "" {
		beChild(t)
	}
	postgres.Database(t) // skips the test without PostgreSQL
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), asChild+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}

	lines := bufio.NewScanner(out)
	var databases, folders []string
	for len(databases) < 2 && lines.Scan() {
		if of, is := strings.CutPrefix(lines.Text(), "server "); is {
			database, folder, _ := strings.Cut(of, " ")
			databases, folders = append(databases, database), append(folders, folder)
		}
	}
	if len(databases) < 2 || !listening(t, databases[0]) || !listening(t, databases[1]) {
		t.Fatalf("the other binary has the servers %v, want two that listen; its output ends with %q", databases, lines.Text())
	}

	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	for i := range databases {
		await(t, "the server and its folder are gone", func() bool {
			_, err := os.Stat(folders[i])
			return errors.Is(err, os.ErrNotExist) && !listening(t, databases[i])
		})
	}
}

// beChild prints the databases and folders of two servers and waits for its end.
func beChild(t *testing.T) {
	own := postgres.Start(t)
	for _, database := range []string{postgres.Database(t), own.Database()} {
		superuser := strings.Replace(database, "errand@", "postgres@", 1)
		var folder string
		query(t, connect(t, superuser), `SELECT current_setting('data_directory')`, &folder)
		fmt.Println("server", database, strings.TrimSuffix(folder, "/data"))
	}
	select {}
}

func connect(t *testing.T, database string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

func run(t *testing.T, c *pgx.Conn, statement string) {
	t.Helper()
	if _, err := c.Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

func query(t *testing.T, c *pgx.Conn, statement string, value any) {
	t.Helper()
	if err := c.QueryRow(t.Context(), statement).Scan(value); err != nil {
		t.Fatal(err)
	}
}

func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

func listening(t *testing.T, database string) bool {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", u.Host)
	if err == nil {
		c.Close()
	}
	return err == nil
}
