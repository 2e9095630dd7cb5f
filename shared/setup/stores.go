package setup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"errand/shared/adapters/gcp"
	"errand/shared/adapters/sqlstore"
	"errand/shared/loopback"
	"errand/shared/secret"
)

// The secrets of a Postgres database, as Google's guide for agents on Cloud Run names them.
// https://cloud.google.com/run/docs/deploy-a2a-agents
const (
	storeUser     = "alloy_db_user"
	storePassword = "alloy_db_pass"
)

// store opens the store. All its variables are checked before.
func (o *opening) store(to *Store) {
	open, err := o.storeOf()
	if err != nil {
		o.note(fmt.Errorf("ERRAND_STORE: %w", err))
	}
	o.later(func() error {
		s, err := open()
		if err != nil {
			return fmt.Errorf("ERRAND_STORE: %w", err)
		}
		*to = s
		o.closes(s)
		return nil
	})
}

// storeOf reads the spec of a store. Nothing is opened before all variables are known to be
// right: the returned function does.
func (o *opening) storeOf() (func() (Store, error), error) {
	spec := o.env.Store
	if spec == "" {
		spec = "sqlite:errand.db"
	}
	kind, details, _ := strings.Cut(spec, ":")
	switch {
	case kind == "sqlite" && strings.HasPrefix(details, ":"): // SQLite's :memory: would lose accepted messages
		return nil, fmt.Errorf("%q is no file; use sqlite:FILE, for example ERRAND_STORE=sqlite:errand.db", details)
	case kind == "sqlite" && details != "":
		return func() (Store, error) {
			return sqlstore.Open(o.ctx, details, sqlstore.Options{Log: o.log, Reserve: sqlstore.Reserve})
		}, nil

	case kind == "firestore" && details != "":
		project, database, _ := strings.Cut(details, "/")
		return func() (Store, error) {
			return gcp.OpenFirestore(o.ctx, project, database, gcp.FirestoreOptions{Log: o.log, Shards: o.env.QueueShards()})
		}, nil

	case kind == "postgres", kind == "postgresql":
		return o.postgres(spec)
	case kind == "alloydb" && details != "":
		return o.alloyDB(spec)
	}
	return nil, fmt.Errorf("%q is no store; use sqlite:FILE, for example ERRAND_STORE=sqlite:errand.db, firestore:PROJECT/DATABASE, "+
		"postgres://USER@HOST/DATABASE or alloydb:projects/PROJECT/locations/LOCATION/clusters/CLUSTER/instances/INSTANCE", kind)
}

// postgres reads the spec of a Postgres database.
func (o *opening) postgres(spec string) (func() (Store, error), error) {
	named, err := checkURL(spec)
	if err != nil {
		return nil, err
	}
	return o.server(sqlstore.Server{Spec: spec, Login: o.login(!named)})
}

// server opens a Postgres database. With the local queue this process has it for itself.
func (o *opening) server(s sqlstore.Server) (func() (Store, error), error) {
	s.Alone = o.env.Local()
	if err := s.Check(); err != nil {
		return nil, err
	}
	return func() (Store, error) { return sqlstore.OpenServer(o.ctx, s, sqlstore.Options{Log: o.log}) }, nil
}

// checkURL reports whether a spec names the user. It refuses a spec with a password, and one
// that leaves open whether the way to another machine is encrypted: libpq would then send
// everything in the clear if the server asks for that. Its errors repeat nothing of the spec.
func checkURL(spec string) (named bool, err error) {
	u, err := url.Parse(spec)
	if err != nil {
		return false, errors.New("it is no URL; use postgres://USER@HOST/DATABASE, with a special character as %XX")
	}
	params := u.Query()
	if _, ok := u.User.Password(); ok || params.Has("password") {
		return false, fmt.Errorf("it has a password, which logs and other users of the machine may see: "+
			"change it, and give the new one as the secret %s (see ERRAND_SECRETS)", storePassword)
	}

	hosts := u.Hostname()
	if params.Has("host") { // it replaces the one of the URL
		hosts = params.Get("host")
	}
	for host := range strings.SplitSeq(hosts, ",") {
		near := strings.HasPrefix(host, "/") || loopback.Is(host)
		if !params.Has("sslmode") && (!near || params.Has("hostaddr")) {
			return false, errors.New("it does not say whether the connection is encrypted: add sslmode=verify-full, or sslmode=disable in a network that you trust")
		}
	}
	return u.User.Username() != "" || params.Has("user"), nil
}

// login reads the password, and the user if the spec names none, whenever a connection is
// made. Secrets that do not exist are left out.
func (o *opening) login(userToo bool) func(context.Context) (user, password string, err error) {
	return func(ctx context.Context) (user, password string, err error) {
		source, err := o.source()
		if err != nil {
			return "", "", err
		}
		get := func(name string) (string, error) {
			v, err := source.Get(ctx, secret.Ref{Name: name})
			if err != nil && !errors.Is(err, secret.ErrNotFound) {
				return "", fmt.Errorf("the secret %s: %w", name, err)
			}
			return v.Text(), nil
		}

		if password, err = get(storePassword); err == nil && userToo {
			user, err = get(storeUser)
		}
		return user, password, err
	}
}

// alloyDB reads the spec of an AlloyDB instance. Its connector encrypts, and a user with an @
// is a service account, which needs no password.
func (o *opening) alloyDB(spec string) (func() (Store, error), error) {
	const usage = "use alloydb:projects/PROJECT/locations/LOCATION/clusters/CLUSTER/instances/INSTANCE?database=DATABASE&user=USER"
	u, err := url.Parse(spec)
	if err != nil || strings.Count(u.Opaque, "/") != 7 || !strings.HasPrefix(u.Opaque, "projects/") {
		return nil, errors.New("it is no AlloyDB instance; " + usage)
	}

	params := u.Query()
	user, database := params.Get("user"), params.Get("database")
	iam := strings.Contains(user, "@")
	connector, err := gcp.NewAlloyDB(gcp.AlloyDBConfig{Instance: u.Opaque, IP: params.Get("ip"), IAM: iam})
	if err != nil {
		return nil, err
	}

	if database == "" {
		database = "errand"
	}
	for _, own := range []string{"ip", "database", "user"} {
		params.Del(own)
	}

	params.Set("sslmode", "disable")
	at := url.URL{Scheme: "postgres", Host: "alloydb", Path: "/" + database, RawQuery: params.Encode()}
	if user != "" {
		at.User = url.User(user)
	}
	server := sqlstore.Server{Spec: at.String(), Dial: connector.Dial}
	if !iam {
		server.Login = o.login(user == "")
	}
	if _, err := checkURL(server.Spec); err != nil {
		return nil, err
	}

	open, err := o.server(server)
	if err != nil {
		return nil, err
	}
	return func() (Store, error) {
		s, err := open()
		if err != nil {
			return nil, errors.Join(err, connector.Close())
		}
		return connected{s, connector}, nil
	}, nil
}

// A connected is a store whose connector is closed with it.
type connected struct {
	Store
	connector io.Closer
}

// Close closes the store and then its connector.
func (c connected) Close() error { return errors.Join(c.Store.Close(), c.connector.Close()) }
