package main_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Behind the front end of Cloud Run, the last entry of X-Forwarded-For is the caller. One
// caller has a share of the requests under way, whatever the entries before say.
func TestCloudCountsTheTrustedHop(t *testing.T) {
	t.Parallel()
	c := startCloud(t, "K_SERVICE=errand", "ERRAND_ACCESS=anonymous")
	address := strings.TrimPrefix(c.url(), "http://")

	ask := func(hops, rest string) net.Conn {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		if _, err := fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: %s\r\nX-Forwarded-For: %s\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n%s", address, hops, rest); err != nil {
			t.Fatal(err)
		}
		return conn
	}

	status := func(hops string) (int, string) {
		conn := ask(hops, "{}")
		defer conn.Close()
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(text)
	}

	// Requests whose bodies do not end are held for 30 s, and further ones take their places.
	for i, end := 0, time.Now().Add(2*time.Minute); ; i++ {
		ask(fmt.Sprintf("10.0.0.%d, 9.9.9.9", i%250), "{")
		if i < 200 {
			continue
		}
		got, text := status("8.8.8.8, 9.9.9.9")
		if got == http.StatusTooManyRequests && strings.Contains(text, "your address has too many requests under way") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the 201st request of an address: status %d, %q", got, text)
		}
	}

	if got, text := status("9.9.9.9, 8.8.8.8"); got == http.StatusTooManyRequests {
		t.Errorf("a request of another address: status %d, %q", got, text)
	}
}
