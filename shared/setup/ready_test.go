package setup_test

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	lab "errand/shared/lab/agent"
	"errand/shared/setup"
)

// A program without its rights is not ready, and its log says which it needs. Each of the three
// says so.
func TestProgramsWithoutTheirRightsAreNotReady(t *testing.T) {
	refusing := grpc.NewServer(grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error {
		return status.Error(codes.PermissionDenied, "a fault of the test")
	}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = refusing.Serve(l) }()
	t.Cleanup(refusing.Stop)

	e := cloud(t)
	t.Setenv("FIRESTORE_EMULATOR_HOST", l.Addr().String())
	log := slog.New(slog.DiscardHandler)
	front, err := setup.OpenFront(t.Context(), e, lab.Definition, log)
	if err != nil {
		t.Fatal(err)
	}
	worker, err := setup.OpenWorker(t.Context(), e, lab.Definition, log)
	if err != nil {
		t.Fatal(err)
	}
	functions, err := setup.OpenFunctions(t.Context(), e, lab.Definition, log)
	if err != nil {
		t.Fatal(err)
	}

	for name, part := range map[string]interface {
		Ready(context.Context) error
		Close() error
	}{"cardserver": front, "worker": worker, "functions": functions} {
		if err := part.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "ERRAND_STORE") || !strings.Contains(err.Error(), "roles/datastore.user") {
			t.Errorf("%s: %v", name, err)
		}
		if err := part.Close(); err != nil {
			t.Error(err)
		}
	}

	// A store that answers has no such record, and that is an answer.
	alone, err := setup.OpenStandalone(t.Context(), setup.Env{Store: "sqlite:" + t.TempDir() + "/errand.db"}, lab.Definition, log)
	if err != nil {
		t.Fatal(err)
	}
	if err := alone.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	if err := alone.Close(); err != nil {
		t.Error(err)
	}
}
