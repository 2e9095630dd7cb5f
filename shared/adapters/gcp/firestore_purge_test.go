package gcp_test

import (
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/firestore"
	pb "cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"errand/shared/adapters/gcp"
	"errand/shared/lab/emulator"
	"errand/shared/task"
)

// The policy of the database acts a week after the expiry, in every write that has one.
func TestPolicyActsAWeekLater(t *testing.T) {
	w := newWire(t)
	f := open(t, w.host, gcp.FirestoreOptions{})
	now := time.Now()
	ended := stored(t, f, canceled(t, hashed("a"), now))
	r := stored(t, f, accepted(t, hashed("b"), now))
	next, _, err := r.Cancel(task.Defaults().At(now), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Commit(t.Context(), next); err != nil {
		t.Fatal(err)
	}

	var commits []*pb.CommitRequest
	w.with(func() { commits = w.commits })
	if len(commits) != 3 {
		t.Fatalf("%d commits, want 3", len(commits))
	}
	for i, want := range []task.Record{ended, r, next} {
		fields := commits[i].Writes[0].GetUpdate().GetFields()
		expires, gone := fields["expires"], fields["gone"]
		if want.Expires.IsZero() {
			if expires != nil || gone != nil {
				t.Errorf("a task that has not ended expires at %v and is gone at %v", expires, gone)
			}
			continue
		}
		if got := gone.GetTimestampValue().AsTime(); !got.Equal(expires.GetTimestampValue().AsTime().AddDate(0, 0, 7)) {
			t.Errorf("a task that expires at %v is gone at %v, want a week later", want.Expires, got)
		}
	}
}

// A document of an earlier version has no time for the policy. The purge finds it all the
// same.
func TestDocumentsWithoutATimeForThePolicy(t *testing.T) {
	project := emulator.Project(t)
	host := emulator.Firestore(t)
	f := openIn(t, host, project, gcp.FirestoreOptions{})
	r := stored(t, f, canceled(t, hashed("a"), time.Now().AddDate(0, 0, -31)))

	client, err := firestore.NewClient(t.Context(), project, option.WithEndpoint(host), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	doc := client.Collection("tasks").Doc(r.ID())
	if _, err := doc.Update(t.Context(), []firestore.Update{{Path: "gone", Value: firestore.Delete}}); err != nil {
		t.Fatal(err)
	}

	if n, err := f.Purge(t.Context(), time.Now(), 10); n != 1 || err != nil {
		t.Errorf("Purge = %d, %v, want 1", n, err)
	}
	if _, err := doc.Get(t.Context()); err == nil || !strings.Contains(err.Error(), "NotFound") {
		t.Errorf("the document is still there: %v", err)
	}
}
