package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgxpool"

	"errand/shared/task"
)

// A Server says how a Postgres database is reached.
type Server struct {
	// Spec is a URL postgres://USER@HOST/DATABASE with the parameters of libpq, and
	// pool_max_conns, which bounds all connections of the process: 10 by default, at least 5.
	Spec string

	// Login returns the user and the password, and is asked for each connection, since both
	// may change. An empty one stays as Spec has it. nil: both are in Spec.
	Login func(context.Context) (user, password string, err error)

	// Dial connects; nil: to the host of Spec.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// Alone says that this process is the only one with the database, which it locks. The
	// leases in it have ended when Open returns, as in a SQLite file. Otherwise many
	// processes may have it, and none that is alone.
	Alone bool
}

// Connections, unless the spec has other numbers.
const (
	connectFor   = 5 * time.Second
	pingFor      = 2 * time.Second  // the pool checks a connection that was idle
	acquireFor   = 10 * time.Second // a read waits for a connection of the pool
	defaultConns = 10
	leastConns   = 5 // the writer, the listener, two lists, and reads of records
)

// sessions are the parameters of sessions, unless the spec has others. Each statement has an
// index in the order of its result. Without fresh statistics the planner would sort a whole
// table instead, because it was small a minute ago.
var sessions = map[string]string{
	"application_name":                    "errand",
	"statement_timeout":                   "15s",
	"lock_timeout":                        "2s",  // another process holds a row for one commit
	"idle_in_transaction_session_timeout": "15s", // of a process that hangs
	"tcp_keepalives_idle":                 "10",  // seconds, of a machine that is gone: its locks
	"tcp_keepalives_interval":             "5",
	"tcp_keepalives_count":                "3",
	"tcp_user_timeout":                    "25000", // milliseconds; keepalives do not run while an answer waits
	"enable_seqscan":                      "off",
	"enable_bitmapscan":                   "off",
	"enable_sort":                         "off",
	"jit":                                 "off",
}

// A server is the engine on a Postgres database.
type server struct {
	db       *DB
	alone    bool
	config   *pgx.ConnConfig
	login    func(context.Context, *pgx.ConnConfig) error // completes it for a connection
	pool     *pgxpool.Pool                                // reads
	writer   *pgx.Conn                                    // nil: none is open
	pid      atomic.Uint32                                // of the writer's connection
	last     backend                                      // of the writer's last connection
	locked   map[string]lockedRow                         // rows that other sessions keep locked, by id
	noTally  atomic.Int64                                 // until then no context gets tallies, nanoseconds
	sums     sums
	loads    chan *load
	listener listener

	ctx  context.Context // ends with the store
	stop context.CancelFunc
	work sync.WaitGroup
}

// OpenServer opens a Postgres database, and makes or migrates its tables.
func OpenServer(ctx context.Context, s Server, opts Options) (*DB, error) {
	config, err := s.config()
	if err != nil {
		return nil, err
	}

	db := newDB(opts.withDefaults())
	e := &server{db: db, alone: s.Alone, config: config.ConnConfig, login: s.login, sums: sums{}, locked: map[string]lockedRow{}, loads: make(chan *load)}
	e.ctx, e.stop = context.WithCancel(context.WithoutCancel(ctx))
	db.engine = e
	db.topics = task.NewTopics(e.watching())
	if err := e.open(ctx, config); err != nil {
		err = errors.Join(err, e.release(), e.close())
		return nil, fmt.Errorf("opening the database %q at %s: %w", e.config.Database, e.config.Host, err)
	}

	go db.run()
	return db, nil
}

// Check returns an error if no connection could be made of the Server. It calls nothing.
func (s Server) Check() error {
	_, err := s.config()
	return err
}

// config reads and completes the configuration of connections.
func (s Server) config() (*pgxpool.Config, error) {
	spec, err := pgx.ParseConfig(s.Spec)
	if err != nil {
		return nil, err
	}
	c, err := pgxpool.ParseConfig(s.Spec)
	if err != nil {
		return nil, err
	}

	if _, given := spec.RuntimeParams["pool_max_conns"]; !given {
		c.MaxConns = defaultConns
	}
	if c.MaxConns < leastConns {
		return nil, fmt.Errorf("pool_max_conns=%d is too few: at least %d", c.MaxConns, leastConns)
	}
	c.MaxConns -= 2 // the writer and the listener are beside the pool
	c.PingTimeout = pingFor

	conn := c.ConnConfig
	if conn.ConnectTimeout == 0 {
		conn.ConnectTimeout = connectFor
	}
	for name, value := range sessions {
		if conn.RuntimeParams[name] == "" {
			conn.RuntimeParams[name] = value
		}
	}

	if s.Dial != nil {
		conn.DialFunc = s.Dial
	}
	if conn.ValidateConnect == nil { // a standby, or a primary that has become one, cannot write
		conn.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}

	// A list that ends with its client leaves its connection to the next one.
	conn.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: c, DeadlineDelay: time.Second}
	}

	c.BeforeConnect = s.login
	return c, nil
}

// login sets the user and the password of a connection.
func (s Server) login(ctx context.Context, c *pgx.ConnConfig) error {
	if s.Login == nil {
		return nil
	}
	user, password, err := s.Login(ctx)
	if err != nil {
		return err
	}
	if user != "" {
		c.User = user
	}
	if password != "" {
		c.Password = password
	}
	return nil
}

func (e *server) open(ctx context.Context, config *pgxpool.Config) (err error) {
	if e.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return err
	}

	if err := e.setUp(ctx); err != nil {
		return err
	}
	if e.alone {
		err = e.endLeases(ctx)
	} else {
		_, err = e.writing(ctx)
	}
	if err != nil {
		return err
	}

	for range min(config.MaxConns-readers, mostLoaders) {
		e.work.Go(e.runLoads)
	}
	if !e.alone {
		e.work.Go(e.listen)
	}
	return nil
}

// connect opens a connection beside the pool. It ends with a context that ends a call.
func (e *server) connect(ctx context.Context) (*pgx.Conn, error) {
	config := e.config.Copy()
	config.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.DeadlineContextWatcherHandler{Conn: c.Conn()}
	}
	if err := e.login(ctx, config); err != nil {
		return nil, err
	}
	return pgx.ConnectConfig(ctx, config)
}

// read runs f on a connection of the pool.
func (e *server) read(ctx context.Context, _ bool, f func(reader) error) error {
	ctx, cancel := context.WithTimeout(ctx, acquireFor)
	defer cancel()
	c, err := e.pool.Acquire(ctx)
	if err != nil && e.ctx.Err() != nil {
		return ErrClosed
	}
	if err != nil {
		return err
	}
	defer c.Release()
	return f(session{c.Conn()})
}

func (e *server) owner() string { return itemOwner }

// room returns nil: a server's disk is not this program's. Its refusals are task.ErrFull.
func (e *server) room(context.Context) error { return nil }

// release ends the reads and the listener.
func (e *server) release() error {
	e.stop()
	e.work.Wait()
	if e.pool == nil {
		return nil
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		e.pool.Close()
	}()

	select {
	case <-closed:
		return nil
	case <-time.After(connectFor): // its reads end with their own time
		return errors.New("the server does not answer, and reads are still waiting for it")
	}
}

// close closes the writer's connection.
func (e *server) close() error {
	if e.writer == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), connectFor)
	defer cancel()
	return e.writer.Close(ctx)
}
