package gcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"cloud.google.com/go/alloydbconn"
)

// AlloyDBConfig says how an instance is reached.
type AlloyDBConfig struct {
	Instance string // projects/P/locations/L/clusters/C/instances/I
	IP       string // private, public or psc; empty: private
	IAM      bool   // the service account logs in, without a password
}

// An AlloyDB connects to one instance of AlloyDB, whose identity it checks, through Google's
// connector. Its first connection reads the credentials and the instance's address. It is
// safe for concurrent use. It speaks no SQL.
//
// The caller of the service account needs roles/alloydb.client and
// roles/serviceusage.serviceUsageConsumer.
// https://cloud.google.com/alloydb/docs/connect-language-connectors
type AlloyDB struct {
	config AlloyDBConfig
	dial   []alloydbconn.DialOption

	mu     sync.Mutex
	dialer *alloydbconn.Dialer // nil before the first connection
	closed bool
}

// NewAlloyDB makes an AlloyDB, which calls nothing yet.
func NewAlloyDB(c AlloyDBConfig) (*AlloyDB, error) {
	a := &AlloyDB{config: c}
	switch c.IP {
	case "", "private":
		a.dial = append(a.dial, alloydbconn.WithPrivateIP())
	case "public":
		a.dial = append(a.dial, alloydbconn.WithPublicIP())
	case "psc":
		a.dial = append(a.dial, alloydbconn.WithPSC())
	default:
		return nil, fmt.Errorf("ip=%s is not known: use private, public or psc", c.IP)
	}
	return a, nil
}

// Dial connects to the instance. The address is not used.
func (a *AlloyDB) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	d, err := a.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("connecting to AlloyDB: %w", err)
	}
	return d.Dial(ctx, a.config.Instance, a.dial...)
}

func (a *AlloyDB) open(ctx context.Context) (*alloydbconn.Dialer, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.closed:
		return nil, errors.New("the connector is closed")
	case a.dialer != nil:
		return a.dialer, nil
	}

	// A Cloud Run instance has no CPU between requests, in which certificates could be
	// renewed, so they are renewed when they are needed.
	options := []alloydbconn.Option{alloydbconn.WithLazyRefresh(), alloydbconn.WithOptOutOfBuiltInTelemetry()}
	if a.config.IAM {
		options = append(options, alloydbconn.WithIAMAuthN())
	}
	d, err := alloydbconn.NewDialer(context.WithoutCancel(ctx), options...)
	if err == nil {
		a.dialer = d
	}
	return d, err
}

// Close ends the connector. Connections that it has made go on.
func (a *AlloyDB) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	if a.dialer == nil {
		return nil
	}
	return a.dialer.Close()
}
