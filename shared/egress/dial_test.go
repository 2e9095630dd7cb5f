package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// These tests are inside the package because no test may connect to the addresses that they
// dial, and virtual time does not pass while a real connection is open.

// addrs parses a list of addresses.
func addrs(list string) []netip.Addr {
	var out []netip.Addr
	for _, s := range strings.Fields(list) {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func TestDialSharesItsTime(t *testing.T) {
	closed := errors.New("closed")

	tests := []struct {
		what, addrs string // of example.com; the last byte decides the outcome: 1 no answer, 2 closed, 3 refused, 4 connected
		took        time.Duration
		tried       int
		want        error
	}{
		{"it answers", "8.8.8.4 8.8.4.1", 0, 1, nil},
		{"behind a closed one and a refused one", "8.8.8.2 10.0.0.3 8.8.4.4", 0, 3, nil},
		{"behind a silent one", "8.8.8.1 8.8.4.4", connectTimeout / 2, 2, nil},
		{"behind two silent ones of eight", "8.8.8.1 8.8.4.1 9.9.9.4 9.9.9.1 9.9.1.1 9.9.2.1 9.9.3.1 9.9.4.1", 2 * time.Second, 3, nil},
		{"behind many silent ones of the other family", "8.8.8.1 8.8.4.1 9.9.9.1 2606:4700::4", connectTimeout / 4, 2, nil},
		{"all are silent", "8.8.8.1 8.8.4.1 9.9.9.1 9.9.8.1 9.9.1.1 9.9.2.1 9.9.3.1 9.9.4.1", connectTimeout, 5, context.DeadlineExceeded},
		{"all are refused", "10.0.0.3 10.0.1.3", 0, 2, ErrRefused},
		{"refused and closed", "10.0.0.3 8.8.8.2 10.0.1.3", 0, 3, closed},
		{"the ninth answers", "8.8.1.2 8.8.2.2 8.8.3.2 8.8.4.2 8.8.5.2 8.8.6.2 8.8.7.2 8.8.8.2 8.8.9.4", 0, maxAddrs, closed},
	}

	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var tried int

				d := &dialer{
					resolve: func(context.Context, string, string) ([]netip.Addr, error) { return addrs(tt.addrs), nil },
					connect: func(ctx context.Context, _, address string) (net.Conn, error) {
						tried++
						switch addr := netip.MustParseAddrPort(address).Addr().AsSlice(); addr[len(addr)-1] {
						case 1:
							<-ctx.Done()
							return nil, ctx.Err()
						case 2:
							return nil, closed
						case 3:
							return nil, fmt.Errorf("%w: private", ErrRefused)
						}

						return &net.TCPConn{}, nil
					},
				}

				start := time.Now()
				conn, err := d.dial(t.Context(), "tcp", "example.com:443")
				if !errors.Is(err, tt.want) || (conn == nil) != (tt.want != nil) || errors.Is(err, ErrRefused) && tt.want != ErrRefused {
					t.Errorf("dial = %v, %v, want error %v", conn, err, tt.want)
				}
				if got := time.Since(start); got != tt.took || tried != tt.tried {
					t.Errorf("dial took %v for %d addresses, want %v for %d", got, tried, tt.took, tt.tried)
				}
			})
		})
	}
}

// TestSilentNameServerIsGivenUp is row 83 of the catalogue: no answer at all.
func TestSilentNameServerIsGivenUp(t *testing.T) {
	// The first look-up reads the resolver's configuration, which must not belong to a
	// bubble.
	if _, err := Answering(func(string) []netip.Addr { return addrs("8.8.8.8") }).LookupNetIP(t.Context(), "ip", "example.com."); err != nil {
		t.Fatal(err)
	}

	synctest.Test(t, func(t *testing.T) {
		end := make(chan struct{}) // the resolver goes on by itself for a while
		defer close(end)
		d := &dialer{
			resolve: Hostile(func(string, *dnsmessage.Message) bool { <-end; return false }).LookupNetIP,
			connect: func(context.Context, string, string) (net.Conn, error) {
				t.Error("connects without an address")
				return nil, errors.New("no")
			},
		}

		start := time.Now()
		_, err := d.dial(t.Context(), "tcp", "example.com:443")
		if fault, ok := errors.AsType[net.Error](err); !ok || !fault.Timeout() {
			t.Errorf("dial = %v, want a timeout", err)
		}
		if got := time.Since(start); got != dnsTimeout {
			t.Errorf("dial took %v, want %v", got, dnsTimeout)
		}
	})
}

// TestNamesAreComplete: a search domain of this machine would turn a name into one of an
// inner machine, and a name server has no say about localhost.
func TestNamesAreComplete(t *testing.T) {
	var asked, tried []string
	d := &dialer{
		resolve: func(_ context.Context, _, host string) ([]netip.Addr, error) {
			asked = append(asked, host)
			return addrs("9.9.9.9"), nil
		},
		connect: func(_ context.Context, _, address string) (net.Conn, error) {
			tried = append(tried, address)
			return nil, errors.New("closed")
		},
	}
	for _, address := range []string{"redis.default:443", "localhost:443", "8.8.8.8:443", "[2606:4700:4700::1111]:443"} {
		if _, err := d.dial(t.Context(), "tcp", address); err == nil {
			t.Errorf("dial(%s) = nil, want an error", address)
		}
	}
	if want := []string{"redis.default."}; !slices.Equal(asked, want) {
		t.Errorf("asked for %q, want %q: with the dot, no search domain is tried", asked, want)
	}
	if want := []string{"9.9.9.9:443", "127.0.0.1:443", "[::1]:443", "8.8.8.8:443", "[2606:4700:4700::1111]:443"}; !slices.Equal(tried, want) {
		t.Errorf("tried %q, want %q", tried, want)
	}
}

func TestInterleave(t *testing.T) {
	for _, tt := range [][2]string{
		{"", ""},
		{"1.1.1.1", "1.1.1.1"},
		{"1.1.1.1 1.1.1.2 2001::1", "1.1.1.1 2001::1 1.1.1.2"},
		{"2001::1 2001::2 2001::3 1.1.1.1", "2001::1 1.1.1.1 2001::2 2001::3"},
		{"::ffff:1.1.1.1 2001::1 1.1.1.2", "1.1.1.1 2001::1 1.1.1.2"},
	} {
		if got, want := interleave(addrs(tt[0])), addrs(tt[1]); !slices.Equal(got, want) {
			t.Errorf("interleave(%s) = %v, want %v", tt[0], got, want)
		}
	}
}
