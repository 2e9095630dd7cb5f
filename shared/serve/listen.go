package serve

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// Listen begins to listen at an address. The error names the remedy.
func Listen(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%w; set PORT or ERRAND_LISTEN to a free address", err)
	case err != nil:
		return nil, fmt.Errorf("%w; set ERRAND_LISTEN to an address of this machine, for example 127.0.0.1:8080", err)
	}
	return l, nil
}
