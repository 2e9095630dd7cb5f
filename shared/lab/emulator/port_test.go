package emulator

import (
	"net"
	"testing"
)

func TestTakenPortIsNoticed(t *testing.T) {
	for _, kind := range []Kind{KindFirestore, KindPubSub} {
		t.Run(kind.name, func(t *testing.T) {
			java, jar := find(t, kind)
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

			p := &Process{Host: l.Addr().String(), kind: kind, java: java, jar: jar}
			if p.launch(t) {
				p.Kill()
				t.Error("the emulator started at a port that is in use")
			}
		})
	}
}
