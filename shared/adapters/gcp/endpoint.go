package gcp

import (
	"errors"
	"net"
	"time"

	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"errand/shared/loopback"
)

// at are the options of a client that reaches its service at endpoint, HOST:PORT,
// instead of the usual place. One on this machine is an emulator: it is spoken to in
// the clear and gets no credentials. Any other is a way to the real service, such as
// Private Service Connect. Empty is the usual place.
func at(endpoint string) ([]option.ClientOption, error) {
	o := connecting(probe)
	if endpoint == "" {
		return o, nil
	}
	host, port, err := net.SplitHostPort(endpoint)
	if err != nil || host == "" || port == "" {
		return nil, errEndpoint
	}
	o = append(o, option.WithEndpoint(endpoint))
	if loopback.Is(host) {
		o = append(o,
			option.WithoutAuthentication(),
			option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
		)
	}
	return o, nil
}

var errEndpoint = errors.New("the endpoint behind @ must be HOST:PORT, for example 127.0.0.1:8085")

// connecting are the options of every client's connections.
func connecting(probe keepalive.ClientParameters) []option.ClientOption {
	return []option.ClientOption{
		option.WithGRPCDialOption(grpc.WithConnectParams(reconnect)),
		option.WithGRPCDialOption(grpc.WithKeepaliveParams(probe)),
	}
}

var (
	// An outage is over within seconds of its end. By default gRPC would wait up to two
	// minutes before it connects again, and fail every call until then.
	// https://github.com/grpc/grpc/blob/master/doc/connection-backoff.md
	reconnect = grpc.ConnectParams{
		Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 5 * time.Second},
		MinConnectTimeout: 5 * time.Second,
	}

	// A connection that was idle is probed when a call uses it. On Cloud Run a process
	// stands still between requests, and what was closed or forgotten on the way
	// meanwhile would swallow every call until TCP gives up, after a quarter of an hour.
	// https://github.com/grpc/grpc/blob/master/doc/keepalive.md
	probe = keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 2 * time.Second}

	// A listener is a call that is quiet for long, and a server closes connections that
	// are probed too often: so often, Firestore's clients on phones do.
	probeListeners = keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}
)
