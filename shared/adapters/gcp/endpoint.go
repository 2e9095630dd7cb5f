package gcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"errand/shared/loopback"
)

// dial makes a client of a service with the function create. The error bad is about the
// other fields of the configuration: dial joins it with the endpoint's, so that all faults
// are reported at once.
func dial[C any](ctx context.Context, service string, create func(context.Context, ...option.ClientOption) (C, error), bad error, endpoint string, more []option.ClientOption) (client C, err error) {
	options, err := at(endpoint)
	if err := errors.Join(bad, err); err != nil {
		return client, err
	}
	client, err = create(ctx, append(options, more...)...)
	if err != nil {
		return client, fmt.Errorf("making the client of %s: %w", service, err)
	}
	return client, nil
}

// at returns the options of a client that reaches its service at endpoint, HOST:PORT. An
// endpoint on this machine is an emulator: the client sends no credentials and does not
// encrypt. Any other endpoint is a way to the real service, such as Private Service
// Connect. Without an endpoint the client uses the usual one.
func at(endpoint string) ([]option.ClientOption, error) {
	o := connecting(probe)
	if endpoint == "" {
		return o, nil
	}
	emulator, err := isEmulator(endpoint)
	if err != nil {
		return nil, err
	}
	o = append(o, option.WithEndpoint(endpoint))
	if emulator {
		o = append(o,
			option.WithoutAuthentication(),
			option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
		)
	}
	return o, nil
}

// isEmulator reports whether an endpoint, which must be HOST:PORT, is on this machine.
func isEmulator(endpoint string) (bool, error) {
	host, port, err := net.SplitHostPort(endpoint)
	if err != nil || host == "" || port == "" {
		return false, errEndpoint
	}
	return loopback.Is(host), nil
}

var errEndpoint = errors.New("the endpoint behind @ must be HOST:PORT, for example 127.0.0.1:8085")

// connecting returns the options for the connections of every client.
func connecting(probe keepalive.ClientParameters) []option.ClientOption {
	return []option.ClientOption{
		option.WithGRPCDialOption(grpc.WithConnectParams(reconnect)),
		option.WithGRPCDialOption(grpc.WithKeepaliveParams(probe)),
	}
}

var (
	// After an outage clients connect again within seconds. By default gRPC would wait up to
	// two minutes, and every call until then would fail.
	// https://github.com/grpc/grpc/blob/master/doc/connection-backoff.md
	reconnect = grpc.ConnectParams{
		Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 5 * time.Second},
		MinConnectTimeout: 5 * time.Second,
	}

	// The first call on an idle connection probes it. On Cloud Run a process is frozen
	// between requests. If a router drops the connection meanwhile, every call on it would
	// hang until TCP gives up, after a quarter of an hour.
	// https://github.com/grpc/grpc/blob/master/doc/keepalive.md
	probe = keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 2 * time.Second}

	// A listener is a call without traffic for long times, and a server closes connections
	// that are probed too often. Firestore's clients on phones probe as often as this.
	probeListeners = keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}
)
