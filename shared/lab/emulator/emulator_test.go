package emulator_test

import (
	"net"
	"testing"

	"errand/shared/lab/emulator"
)

func TestSharedEmulators(t *testing.T) {
	for name, start := range map[string]func(testing.TB) string{"Firestore": emulator.Firestore, "PubSub": emulator.PubSub} {
		t.Run(name, func(t *testing.T) {
			first := start(t)
			if second := start(t); second != first {
				t.Errorf("there are two emulators, at %s and %s, want one for the whole test binary", first, second)
			}
			if !listening(first) {
				t.Errorf("no process listens at %s", first)
			}
		})
	}
	if a, b := emulator.Project(t), emulator.Project(t); a == b {
		t.Errorf("two tests share the project %s", a)
	}
}

func TestKilledAndStartedAgain(t *testing.T) {
	p := emulator.Start(t, emulator.KindPubSub)
	host := p.Host
	p.Kill()
	if listening(host) {
		t.Fatalf("after Kill a process listens at %s", host)
	}
	p.Restart(t)
	if p.Host != host || !listening(host) {
		t.Errorf("after Restart it listens at %s: %t; want %s", p.Host, listening(p.Host), host)
	}
}

func listening(host string) bool {
	c, err := net.Dial("tcp", host)
	if err == nil {
		c.Close()
	}
	return err == nil
}
