package gcp

import (
	"fmt"
	"net"

	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// at are the options of a client that reaches its service at endpoint, HOST:PORT,
// instead of the usual place. One on this machine is an emulator: it is spoken to in
// the clear and gets no credentials. Any other is a way to the real service, such as
// Private Service Connect. Empty is the usual place.
func at(endpoint string) ([]option.ClientOption, error) {
	if endpoint == "" {
		return nil, nil
	}
	host, port, err := net.SplitHostPort(endpoint)
	if err != nil || host == "" || port == "" {
		return nil, fmt.Errorf("the endpoint behind @ must be HOST:PORT, for example 127.0.0.1:8085")
	}
	o := []option.ClientOption{option.WithEndpoint(endpoint)}
	if loopback(host) {
		o = append(o,
			option.WithoutAuthentication(),
			option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
		)
	}
	return o, nil
}

func loopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}
