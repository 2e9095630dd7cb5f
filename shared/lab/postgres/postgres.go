// Package postgres runs real PostgreSQL servers for tests. It fakes nothing itself and is in
// no binary.
//
// A test binary shares one server, and each test has a [Database] of its own there. A test
// that kills its server starts one with [Start]. Each server ends with the test binary, even
// if the binary is killed, and its folder is deleted then.
//
// The databases are made to be no friendlier than those of an installation: the role errand
// owns its database and is no superuser, and text sorts by language where the server can.
package postgres

import (
	"context"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// patience bounds each wait for a server. It only guards against hanging.
const patience = 3 * time.Minute

// The server of this test binary.
var shared struct {
	once sync.Once
	s    *Server
}

// Database makes an empty database on this test binary's server and returns its URL,
// postgres://errand@127.0.0.1:PORT/NAME?sslmode=disable. No other test uses the database.
// Without PostgreSQL the test is skipped.
func Database(t testing.TB) string {
	t.Helper()
	p := find(t)
	shared.once.Do(func() { shared.s = start(t, p, "") })
	if shared.s == nil {
		t.Fatal("the PostgreSQL server did not start for an earlier test")
	}
	return shared.s.database(t)
}

// A Server is a PostgreSQL server for one test, which may kill it. Its methods fail the test
// on errors. Only one goroutine at a time may call Stop, Kill or Again.
type Server struct {
	t         testing.TB
	programs  programs
	folder    string // has the data, the log and nothing else
	port      string
	linguist  bool // it can sort text by language
	databases atomic.Int64

	janitor io.Closer     // the folder goes when it closes
	gone    chan struct{} // closes when the folder is gone
	process *os.Process
	exited  chan struct{} // closes when the process has ended
}

// Start starts a server that no other test uses. It ends with the test. Without PostgreSQL
// the test is skipped.
func Start(t testing.TB) *Server {
	t.Helper()
	return own(t, "")
}

// StartWithPassword is like Start, but the role errand needs the password to connect, by
// SCRAM-SHA-256. The URLs of the server do not contain it.
func StartWithPassword(t testing.TB, password string) *Server {
	t.Helper()
	return own(t, password)
}

func own(t testing.TB, password string) *Server {
	t.Helper()
	s := start(t, find(t), password)
	t.Cleanup(func() {
		s.janitor.Close()
		<-s.gone
	})
	return s
}

// Database makes an empty database and returns its URL, which stays valid after Again.
func (s *Server) Database() string {
	s.t.Helper()
	return s.database(s.t)
}

// URL returns the URL of a database by its name. The database need not exist.
func (s *Server) URL(database string) string { return s.url("errand", database) }

func (s *Server) url(role, database string) string {
	u := url.URL{Scheme: "postgres", User: url.User(role), Host: net.JoinHostPort("127.0.0.1", s.port), Path: "/" + database, RawQuery: "sslmode=disable"}
	return u.String()
}

// Stop ends the server in a mode of pg_ctl and waits for its end: "fast" ends it in order,
// "immediate" without writing its memory to disk, so that Again recovers the data from the
// log of writes. Both break all connections.
func (s *Server) Stop(mode string) {
	s.t.Helper()
	if out, err := s.programs.command(s.folder, "pg_ctl", "stop", "-D", s.data(), "-m", mode, "-w", "-t", fmt.Sprint(patience.Seconds()), "-s").CombinedOutput(); err != nil {
		s.t.Fatalf("stopping the PostgreSQL server: %v\n%s", err, out)
	}
	<-s.exited
}

// Kill ends the server and all its processes with SIGKILL, and waits for their end.
func (s *Server) Kill() {
	s.t.Helper()
	if err := s.kill(); err != nil {
		s.t.Fatalf("killing the PostgreSQL server: %v", err)
	}
	<-s.exited
}

// Again starts the server again after Stop or Kill, at the same port and with the same data,
// and waits until it accepts connections.
func (s *Server) Again() {
	s.t.Helper()
	if !s.launch(s.t) {
		s.t.Fatalf("another process took the port %s of the PostgreSQL server", s.port)
	}
}

func (s *Server) data() string { return filepath.Join(s.folder, "data") }

// start makes a folder with the data of an empty server, and starts the server at a free
// port. A password is for the role errand. If it is empty, none is asked for.
func start(t testing.TB, p programs, password string) *Server {
	t.Helper()
	folder, err := p.mkdir()
	if err != nil {
		t.Fatalf("making a folder for a PostgreSQL server: %v", err)
	}
	s := &Server{t: t, programs: p, folder: folder}
	s.startJanitor(t)
	s.initialise(t, password)

	// PostgreSQL cannot choose its port. So start chooses one below the ports that outgoing
	// connections use.
	for range 10 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20000+mathrand.IntN(12000)))
		if err != nil {
			continue // the port is in use
		}
		_, s.port, _ = net.SplitHostPort(l.Addr().String())
		l.Close()
		if s.launch(t) {
			s.createRole(t, password)
			return s
		}
	}

	t.Fatalf("the PostgreSQL server found no free port:\n%s", s.log())
	return nil
}

// startJanitor starts a shell that ends the server and deletes the folder when our end of the
// shell's input closes, which also happens if this process is killed.
func (s *Server) startJanitor(t testing.TB) {
	t.Helper()
	cmd := s.programs.command("/", "sh", "-c",
		`read -r _; "$1" stop -D "$2/data" -m immediate -w -s; rm -rf "$2"`, "sh", s.programs.path("pg_ctl"), s.folder)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		os.RemoveAll(s.folder)
		t.Fatalf("starting a shell that ends the PostgreSQL server: %v", err)
	}
	s.janitor, s.gone = stdin, make(chan struct{})
	go func() {
		defer close(s.gone)
		_ = cmd.Wait()
	}()
}

// initialise makes the data of a server whose superuser is the role postgres.
func (s *Server) initialise(t testing.TB, password string) {
	t.Helper()
	// Without --no-sync it takes longer and is safe against the loss of power, which no test
	// needs. The server itself syncs as usual.
	cmd := s.programs.command(s.folder, "initdb", "-D", s.data(), "-U", "postgres", "-E", "UTF8", "--locale=C",
		"-A", "trust", "--no-sync", "--no-instructions", "--wal-segsize=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("making the data of a PostgreSQL server in %s: %v\n%s", s.folder, err, out)
	}
	if password == "" {
		return
	}
	rules := "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
	if err := os.WriteFile(filepath.Join(s.data(), "pg_hba.conf"), []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
}

// settings are for small servers. Dynamic memory is in the data folder, so that a killed
// server leaves none of it behind.
var settings = []string{
	"listen_addresses=127.0.0.1",
	"unix_socket_directories=",
	"max_connections=200",
	"shared_buffers=64MB",
	"min_wal_size=8MB",
	"max_wal_size=256MB",
	"dynamic_shared_memory_type=mmap",
	"password_encryption=scram-sha-256",
	"fsync=on",
}

// launch starts the process and waits until it accepts connections. It returns false if
// another process has the port.
func (s *Server) launch(t testing.TB) bool {
	t.Helper()
	args := []string{"-D", s.data(), "-p", s.port}
	for _, setting := range settings {
		args = append(args, "-c", setting)
	}

	log, err := os.Create(s.logFile())
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := s.programs.command(s.folder, "postgres", args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting the PostgreSQL server: %v", err)
	}

	exited := make(chan struct{})
	s.process, s.exited = cmd.Process, exited
	go func() {
		defer close(exited)
		_ = cmd.Wait() // returns an error after a kill
	}()

	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()

	for {
		err := s.answers(ctx)
		if err == nil {
			return true
		}

		select {
		case <-exited:
			if strings.Contains(s.log(), "Address already in use") {
				return false
			}
			t.Fatalf("the PostgreSQL server ended at its start:\n%s", s.log())
		case <-ctx.Done():
			_ = s.kill()
			t.Fatalf("the PostgreSQL server does not answer at port %s: %v\n%s", s.port, err, s.log())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// answers returns nil if the server accepts connections, and none other at its port.
func (s *Server) answers(ctx context.Context) error {
	c, err := pgx.Connect(ctx, s.url("postgres", "postgres"))
	if err != nil {
		return err
	}
	defer c.Close(ctx)

	var data string
	const byLanguage = `current_setting('server_version_num')::int >= 150000 AND EXISTS (SELECT FROM pg_collation WHERE collprovider = 'i')`
	if err := c.QueryRow(ctx, `SELECT current_setting('data_directory'), `+byLanguage).Scan(&data, &s.linguist); err != nil {
		return err
	}
	if data != s.data() {
		return fmt.Errorf("another server, with its data in %s, answers", data)
	}
	return nil
}

func (s *Server) createRole(t testing.TB, password string) {
	t.Helper()
	if password == "" {
		s.administer(t, `CREATE ROLE errand LOGIN`)
		return
	}
	s.administer(t, `CREATE ROLE errand LOGIN PASSWORD '`+strings.ReplaceAll(password, "'", "''")+`'`)
}

func (s *Server) database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("db%03d", s.databases.Add(1))
	create := `CREATE DATABASE ` + name + ` OWNER errand`
	if s.linguist {
		create += ` TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'`
	}
	s.administer(t, create)
	return s.URL(name)
}

// administer runs a statement as the superuser, for whom the server keeps connections free.
func (s *Server) administer(t testing.TB, statement string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := pgx.Connect(ctx, s.url("postgres", "postgres"))
	if err != nil {
		t.Fatalf("connecting to the PostgreSQL server as its superuser: %v\n%s", err, s.log())
	}
	defer c.Close(ctx)
	if _, err := c.Exec(ctx, statement); err != nil {
		t.Fatal(err)
	}
}

func (s *Server) logFile() string { return filepath.Join(s.folder, "log") }

// log returns the end of the server's log since its last start.
func (s *Server) log() string {
	text, err := os.ReadFile(s.logFile())
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-16<<10):])
}

// command is a program of PostgreSQL, or of the system, that runs as the user of the server.
// Its environment has nothing of the test's, or variables such as PGOPTIONS would change it.
func (p programs) command(folder, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(p.path(name), args...)
	cmd.Dir = folder
	cmd.Env = []string{"LC_ALL=C", "PATH=" + p.bin + ":/usr/local/bin:/usr/bin:/bin"}
	p.account.run(cmd)
	return cmd
}
