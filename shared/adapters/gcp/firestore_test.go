package gcp_test

import (
	"log/slog"
	"testing"
	"time"

	"cloud.google.com/go/firestore"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"errand/shared/adapters/gcp"
	"errand/shared/lab/conformance"
	"errand/shared/lab/emulator"
)

// open opens an empty database at host that only this test uses.
func open(t testing.TB, host string, opts gcp.FirestoreOptions) *gcp.Firestore {
	t.Helper()
	return openIn(t, host, emulator.Project(t), opts)
}

func openIn(t testing.TB, host, project string, opts gcp.FirestoreOptions) *gcp.Firestore {
	t.Helper()
	opts.Options = append(opts.Options, option.WithEndpoint(host), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	f, err := gcp.OpenFirestore(t.Context(), project, "", opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return f
}

func TestFirestoreKeepsTheLaws(t *testing.T) {
	t.Parallel()
	ways := map[string]gcp.FirestoreOptions{"Listening": {}}
	if conformance.Full() {
		ways["Sharded"] = gcp.FirestoreOptions{Shards: 4}
		ways["Polling"] = gcp.FirestoreOptions{Listeners: -1, Poll: 20 * time.Millisecond}
	}
	for name, opts := range ways {
		t.Run(name, func(t *testing.T) {
			host := emulator.Firestore(t)
			conformance.Store(t, func(t *testing.T, now func() time.Time) conformance.Stored {
				opts.Now = now
				return open(t, host, opts)
			})
		})
	}
}

func TestFirestoreKVKeepsTheLaws(t *testing.T) {
	t.Parallel()
	host := emulator.Firestore(t)
	conformance.KV(t, func(t *testing.T, now func() time.Time) func() conformance.Database {
		project := emulator.Project(t)
		return func() conformance.Database { return openIn(t, host, project, gcp.FirestoreOptions{Now: now}) }
	})
}

func TestFirestoreSkipsUnreadable(t *testing.T) {
	t.Parallel()
	host := emulator.Firestore(t)
	conformance.StoreWithUnreadable(t, func(t *testing.T, now func() time.Time) (conformance.Stored, func(string, []byte)) {
		project := emulator.Project(t)
		c, err := firestore.NewClient(t.Context(), project, option.WithEndpoint(host), option.WithoutAuthentication(),
			option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
		if err != nil {
			t.Fatal(err)
		}

		t.Cleanup(func() {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})

		return openIn(t, host, project, gcp.FirestoreOptions{Now: now, Log: slog.New(slog.DiscardHandler)}), func(id string, head []byte) {
			if _, err := c.Collection("tasks").Doc(id).Update(t.Context(), []firestore.Update{{Path: "head", Value: head}}); err != nil {
				t.Fatal(err)
			}
		}
	})
}
