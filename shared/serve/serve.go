// Package serve listens, drains and logs for every program of Errand.
//
// It knows no handler and no agent: a program gives it an http.Handler and the work to do
// at its stop.
package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

// Options of a server. Zero values have defaults.
type Options struct {
	Log *slog.Logger

	// Drain is called once when the process is told to stop, while requests are
	// still being answered. ctx ends when there is no more time.
	Drain func(ctx context.Context)

	// Short returns an error while the program serves a part of its requests only. /ready then
	// answers with its text, and still with success: without the program in its place, the
	// others would not be served either. nil: never.
	Short func(context.Context) error

	// Ready returns an error while a part that the program needs does not answer. /ready asks it
	// until it returns nil once, and never again. The error is for the log. nil: nothing is asked.
	Ready func(context.Context) error

	// Grace is how long stopping may take: 8 s by default, because Cloud Run kills
	// the process 10 s after SIGTERM.
	// https://cloud.google.com/run/docs/container-contract#instance-shutdown
	Grace time.Duration

	// Limits bound connections and requests. The zero value has the limits of a program.
	Limits Limits

	// Caller is the address of a request's sender behind the proxies that the program
	// trusts, which stand for many callers. Nil: the peer of a connection is the caller.
	Caller func(*http.Request) netip.Prefix

	// Proxies is the number of proxies that the program trusts, with a Caller: 1 by default.
	Proxies int

	// Certificates encrypt connections. nil: connections are not encrypted.
	Certificates *Certificates

	// Linger is how long requests may go on after the program was told to stop, before they
	// are told too: 100 ms by default, so that short ones end by themselves, and waits and
	// streams are answered with the current state. A program whose requests are work that
	// Drain ends gives them the time to do so.
	Linger time.Duration
}

// Run answers requests on l until ctx ends or the process gets SIGINT or SIGTERM, and then
// stops in order: no new connections, waits and streams are answered with the current
// state, Drain, and last all open connections are closed.
func Run(ctx context.Context, l net.Listener, h http.Handler, o Options) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	requests, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	var stopping atomic.Bool
	limits := o.Limits.withDefaults()

	srv := &http.Server{
		Protocols:         protocols(),
		HTTP2:             limits.http2(),
		Handler:           guarded(watched(shared(h, o, limits), &stopping, &readiness{ready: o.Ready, log: o.Log}, o.Short), limits),
		BaseContext:       func(net.Listener) context.Context { return requests },
		ConnContext:       withConn,
		ConnState:         func(c net.Conn, s http.ConnState) { c.(*conn).state(s) },
		ReadHeaderTimeout: limits.Header,
		ReadTimeout:       limits.Read,  // net/http takes it away at the end of the body
		WriteTimeout:      limits.Write, // and sets it anew for each request
		IdleTimeout:       limits.Idle,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(faults{o.Log.Handler()}, slog.LevelError), // panics of handlers
	}

	listening := newListener(l, limits, o.Caller != nil, o.Log)
	if o.Certificates != nil {
		listening.tls = o.Certificates.Config()
		srv.Handler = withTLS(srv.Handler)
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(listening) }()

	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}

	stopping.Store(true)
	stop() // a second signal ends the process at once
	grace := o.Grace
	if grace == 0 {
		grace = 8 * time.Second
	}

	o.Log.Info("stopping", "grace", grace)
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	drained := make(chan struct{})

	go func() {
		defer close(drained)
		if o.Drain != nil {
			o.Drain(last)
		}
	}()

	linger := o.Linger
	if linger == 0 {
		linger = 100 * time.Millisecond
	}

	time.AfterFunc(linger, end)
	err := srv.Shutdown(last)
	if errors.Is(err, context.DeadlineExceeded) {
		err = srv.Close()
	}

	<-drained
	return err
}

// Main is the main function of a program that takes no arguments. It runs the program on
// the environment and the standard error, and exits with 1 after an error.
func Main(run func(ctx context.Context, environ []string, out io.Writer) error) {
	if err := run(context.Background(), os.Environ(), os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
