package postgres

import (
	"net"
	"testing"
)

func TestTakenPortIsNoticed(t *testing.T) {
	s := Start(t)
	s.Stop("fast")

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()

	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()

	if _, s.port, err = net.SplitHostPort(l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if s.launch(t) {
		t.Error("the server started at a port that is in use")
	}
}

// Another server at the port would answer in the place of ours.
func TestOtherServerIsNoticed(t *testing.T) {
	ours, other := Start(t), Start(t)
	ours.Stop("fast")
	ours.port = other.port
	if ours.launch(t) {
		t.Error("the server started at a port where another one answers")
	}
}
