package gcp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"errand/shared/adapters/gcp"
	"errand/shared/files"
	"errand/shared/lab/conformance"
	"errand/shared/lab/fake"
)

const theBucket = "my-project-errand-files"

func openBucket(t *testing.T, c gcp.BucketConfig) *files.Store {
	t.Helper()
	s := files.New(func(ctx context.Context) (files.Place, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel() // the client must work after the end of this context
		return gcp.OpenBucket(ctx, c)
	}, time.Now)
	closes(t, s)
	return s
}

func TestBucketKeepsTheLaws(t *testing.T) {
	const prefix = "an/installation"

	conformance.Files(t, func(t *testing.T) conformance.FilesBench {
		service := fake.StartStorage(t, theBucket)
		signing, _ := service.Signing(t)
		c := gcp.BucketConfig{Bucket: theBucket, Prefix: prefix, Endpoint: service.Addr, Signing: signing}
		return conformance.FilesBench{
			Files: openBucket(t, c),
			Other: openBucket(t, c),
			Objects: func() []string {
				var all []string
				for _, name := range service.Objects(t, theBucket) {
					inside, ok := strings.CutPrefix(name, prefix+"/")
					if !ok {
						t.Errorf("%s does not have the prefix", name)
					}
					all = append(all, inside)
				}

				return all
			},
			Read:    func(object string) []byte { return service.Object(t, theBucket, prefix+"/"+object).Content },
			Write:   func(object string, content []byte) { service.Set(theBucket, prefix+"/"+object, content) },
			Fetch:   http.Get,
			Arrived: service.Received,
			Hidden:  []string{theBucket, service.Addr, prefix},
		}
	})
}

// Every request costs money.
func TestBucketReceivesFewRequests(t *testing.T) {
	service := fake.StartStorage(t, theBucket)
	signing, signed := service.Signing(t)
	s := openBucket(t, gcp.BucketConfig{Bucket: theBucket, Endpoint: service.Addr, Signing: signing})
	put := func() error {
		_, err := s.Put(t.Context(), files.Upload{Name: "d/f"}, strings.NewReader("content"))
		return err
	}

	for _, row := range []struct {
		name string
		do   func() error
		want []string
	}{
		{"the first Put", put, []string{"write", "read", "write"}},
		{"Put that replaces", put, []string{"write", "read", "write", "delete"}},
		{"Get", func() error {
			_, r, err := s.Get(t.Context(), "d/f")
			if err == nil {
				_, err = io.ReadAll(r)
				err = errors.Join(err, r.Close())
			}
			return err
		}, []string{"read", "read"}},
		{"Stat", func() error { _, err := s.Stat(t.Context(), "d/f"); return err }, []string{"read"}},
		{"Sign", func() error { _, err := s.Sign(t.Context(), "d/f", time.Hour); return err }, []string{"read"}},
		{"Delete", func() error { return s.Delete(t.Context(), "d/f") }, []string{"read", "delete", "delete"}},
		{"Delete of nothing", func() error { return s.Delete(t.Context(), "d/f") }, []string{"read"}},
		{"DeleteAll of nothing", func() error { return s.DeleteAll(t.Context(), "d") }, []string{"list"}},
	} {
		service.Calls()
		if err := row.do(); err != nil {
			t.Errorf("%s: %v", row.name, err)
		}
		if got := service.Calls(); !slices.Equal(got, row.want) {
			t.Errorf("%s makes the requests %q, want %q", row.name, got, row.want)
		}
	}

	if n := signed(); n != 1 {
		t.Errorf("IAM signed %d times, want once", n)
	}
}

// A failing put does not complete the upload.
func TestBucketReceivesNoFailedPut(t *testing.T) {
	service := fake.StartStorage(t, theBucket)
	s := openBucket(t, gcp.BucketConfig{Bucket: theBucket, Endpoint: service.Addr})
	if _, err := s.Put(t.Context(), files.Upload{Name: "d/f", Size: 8}, strings.NewReader("content")); !errors.Is(err, files.ErrMismatch) {
		t.Errorf("Put = %v, want ErrMismatch", err)
	}
	if got := service.Calls(); slices.Contains(got, "write") {
		t.Errorf("the requests are %q, want no write", got)
	}
}

// The next Delete finishes a deletion that failed halfway.
func TestBucketDeletesTheRest(t *testing.T) {
	service := fake.StartStorage(t, theBucket)
	s := openBucket(t, gcp.BucketConfig{Bucket: theBucket, Endpoint: service.Addr})
	if _, err := s.Put(t.Context(), files.Upload{Name: "d/f"}, strings.NewReader("content")); err != nil {
		t.Fatal(err)
	}

	for fails := range 2 {
		deletes := 0
		service.Fail(func(call, _ string) (int, bool) {
			if call == "delete" {
				deletes++
			}
			return map[bool]int{true: http.StatusBadRequest}[call == "delete" && deletes == fails+1], false
		})

		if err := s.Delete(t.Context(), "d/f"); err == nil {
			t.Errorf("Delete whose request %d fails = nil", fails+1)
		}
	}

	service.Fail(nil)
	if err := s.Delete(t.Context(), "d/f"); err != nil {
		t.Errorf("Delete = %v", err)
	}
	if left := service.Objects(t, theBucket); len(left) != 0 {
		t.Errorf("there is %q", left)
	}
}

// A program without permissions gets an error, and not ErrNotFound or a successful deletion.
func TestBucketWithoutRights(t *testing.T) {
	service := fake.StartStorage(t, theBucket)
	s := openBucket(t, gcp.BucketConfig{Bucket: theBucket, Endpoint: service.Addr})
	if _, err := s.Put(t.Context(), files.Upload{Name: "d/f"}, strings.NewReader("content")); err != nil {
		t.Fatal(err)
	}

	for _, status := range []int{http.StatusForbidden, http.StatusUnauthorized} {
		service.Fail(func(string, string) (int, bool) { return status, false })
		_, put := s.Put(t.Context(), files.Upload{Name: "d/f"}, strings.NewReader("other"))
		_, stat := s.Stat(t.Context(), "d/f")
		_, _, get := s.Get(t.Context(), "d/f")
		for call, err := range map[string]error{"Put": put, "Stat": stat, "Get": get, "Delete": s.Delete(t.Context(), "d/f"), "DeleteAll": s.DeleteAll(t.Context(), "d")} {
			if err == nil || errors.Is(err, files.ErrNotFound) {
				t.Errorf("%s after the answer %d = %v, want an error that is not ErrNotFound", call, status, err)
			}
		}
	}

	service.Fail(nil)
	_, r, err := s.Get(t.Context(), "d/f")
	if err != nil {
		t.Fatalf("with the permission again Get = %v", err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || string(got) != "content" {
		t.Errorf("with the permission again there is %q, %v", got, err)
	}
}

// The first answer to every request gets lost. The client retries, does not take its own
// earlier success for a conflict, and leaves no orphan.
func TestBucketWhoseAnswersAreLost(t *testing.T) {
	service := fake.StartStorage(t, theBucket)
	s := openBucket(t, gcp.BucketConfig{Bucket: theBucket, Endpoint: service.Addr})

	// Each content fits into one request: the fake appends a repeated chunk twice.
	for i, want := range []string{"first", "second", strings.Repeat("a third ", 100_000)} {
		service.Fail(firstLost())
		_, err := s.Put(t.Context(), files.Upload{Name: "d/f"}, strings.NewReader(want))
		if err != nil {
			t.Fatalf("Put %d = %v", i+1, err)
		}

		service.Fail(nil)
		_, r, err := s.Get(t.Context(), "d/f")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || string(got) != want {
			t.Errorf("after Put %d Get = %d bytes, %v", i+1, len(got), err)
		}

		r.Close()
		if left := service.Objects(t, theBucket); len(left) != 2 {
			t.Errorf("after Put %d there is %q", i+1, left)
		}
	}

	service.Fail(firstLost())
	if err := s.Delete(t.Context(), "d/f"); err != nil {
		t.Errorf("Delete = %v", err)
	}
	if left := service.Objects(t, theBucket); len(left) != 0 {
		t.Errorf("after Delete there is %q", left)
	}
}

// firstLost loses the first answer to every kind of call for every object.
func firstLost() fake.Failure {
	var seen sync.Map
	return func(call, object string) (int, bool) {
		if _, again := seen.LoadOrStore(call+object, true); again {
			return 0, false
		}
		return http.StatusServiceUnavailable, true
	}
}

// The answer to a commit gets lost. Before the retry another process replaces the file and
// deletes its content, or is late with the deletion. The file must be whole in the end.
func TestBucketWhoseAnswerIsLostToAnother(t *testing.T) {
	for _, late := range []bool{false, true} {
		t.Run(fmt.Sprintf("late=%t", late), func(t *testing.T) {
			service := fake.StartStorage(t, theBucket)
			one := openBucket(t, gcp.BucketConfig{Bucket: theBucket, Endpoint: service.Addr})
			two := openBucket(t, gcp.BucketConfig{Bucket: theBucket, Endpoint: service.Addr})
			put := func(s *files.Store, content string) error {
				_, err := s.Put(t.Context(), files.Upload{Name: "d/f", Owner: content}, strings.NewReader(content))
				return err
			}

			var commits atomic.Int32
			var first string // the content of the put of store one
			deleting, goOn, replaced := make(chan struct{}), make(chan struct{}), make(chan error, 1)

			service.Fail(func(call, object string) (int, bool) {
				switch {
				case call == "write" && !strings.HasSuffix(object, "+info") && first == "":
					first = object

				case call == "delete" && object == first && late:
					select {
					case <-deleting: // store one itself deletes
					default:
						close(deleting)
						<-goOn
					}

				case call == "write" && strings.HasSuffix(object, "+info"):
					switch commits.Add(1) {
					case 1:
						return http.StatusServiceUnavailable, true
					case 2: // store two puts before the retry of store one
						go func() { replaced <- put(two, "two") }()
						if late {
							<-deleting
						} else {
							replaced <- <-replaced
						}
					}
				}

				return 0, false
			})

			if err := put(one, "one"); err != nil {
				t.Errorf("Put of the first = %v", err)
			}

			close(goOn)
			if err := <-replaced; err != nil {
				t.Errorf("Put of the second = %v", err)
			}

			service.Fail(nil)
			info, r, err := two.Get(t.Context(), "d/f")
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if got, err := io.ReadAll(r); err != nil || string(got) != info.Owner {
				t.Errorf("Get = %q of %s, %v", got, info.Owner, err)
			}
			if left := service.Objects(t, theBucket); len(left) != 2 {
				t.Errorf("there is %q", left)
			}
		})
	}
}

// In an outage the client retries for a limited time.
func TestBucketInAnOutage(t *testing.T) {
	service := fake.StartStorage(t, theBucket)
	s := openBucket(t, gcp.BucketConfig{Bucket: theBucket, Endpoint: service.Addr, Retry: time.Second})
	service.Fail(func(string, string) (int, bool) { return http.StatusServiceUnavailable, false })
	if _, err := s.Stat(t.Context(), "d/f"); err == nil || errors.Is(err, files.ErrNotFound) {
		t.Errorf("Stat = %v, want an error", err)
	}
	if n := len(service.Calls()); n < 2 {
		t.Errorf("the service received %d requests, want retries", n)
	}
}

// The answer to a commit gets lost, and then the service cannot be read. The put may have
// succeeded, so its content must stay.
func TestBucketThatMayHaveCommitted(t *testing.T) {
	service := fake.StartStorage(t, theBucket)
	s := openBucket(t, gcp.BucketConfig{Bucket: theBucket, Endpoint: service.Addr})
	var commits atomic.Int32

	service.Fail(func(call, object string) (int, bool) {
		switch info := strings.HasSuffix(object, "+info"); {
		case call == "write" && info && commits.Add(1) == 1:
			return http.StatusServiceUnavailable, true
		case call == "read" && info && commits.Load() > 0:
			return http.StatusBadRequest, false
		}

		return 0, false
	})

	if _, err := s.Put(t.Context(), files.Upload{Name: "d/f"}, strings.NewReader("content")); err == nil {
		t.Error("Put = nil, want an error")
	}

	service.Fail(nil)
	_, r, err := s.Get(t.Context(), "d/f")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || string(got) != "content" {
		t.Errorf("Get = %q, %v, want the content", got, err)
	}
}

// A failed commit keeps the old file. It keeps the new content too, because the service may
// still carry out the request.
func TestBucketThatDoesNotCommit(t *testing.T) {
	service := fake.StartStorage(t, theBucket)
	s := openBucket(t, gcp.BucketConfig{Bucket: theBucket, Endpoint: service.Addr})
	if _, err := s.Put(t.Context(), files.Upload{Name: "d/f", Owner: "old"}, strings.NewReader("old")); err != nil {
		t.Fatal(err)
	}
	service.Fail(func(call, object string) (int, bool) {
		return map[bool]int{true: http.StatusBadRequest}[call == "write" && strings.HasSuffix(object, "+info")], false
	})
	if _, err := s.Put(t.Context(), files.Upload{Name: "d/f"}, strings.NewReader("new")); err == nil {
		t.Error("Put = nil")
	}
	service.Fail(nil)
	if info, err := s.Stat(t.Context(), "d/f"); err != nil || info.Owner != "old" {
		t.Errorf("Stat = %+v, %v, want the old file", info, err)
	}
	if left := service.Objects(t, theBucket); len(left) != 3 {
		t.Errorf("there is %q, want the new content too", left)
	}
}

// Sign reads the service account until it succeeds once, and reports a missing permission.
func TestBucketSignsAsTheProgram(t *testing.T) {
	service := fake.StartStorage(t, theBucket)
	signing, _ := service.Signing(t)
	s := openBucket(t, gcp.BucketConfig{Bucket: theBucket, Endpoint: service.Addr, Signing: signing})
	if _, err := s.Put(t.Context(), files.Upload{Name: "d/f"}, strings.NewReader("content")); err != nil {
		t.Fatal(err)
	}
	service.RefuseToSign(http.StatusForbidden)
	if _, err := s.Sign(t.Context(), "d/f", time.Hour); err == nil || !strings.Contains(err.Error(), "iam.serviceAccounts.signBlob") {
		t.Errorf("Sign without the permission = %v, want its name", err)
	}
	service.RefuseToSign(0)
	for _, lifetime := range []time.Duration{time.Second, time.Hour, files.MaxLifetime} {
		signed, err := s.Sign(t.Context(), "d/f", lifetime)
		if want := fmt.Sprintf("&X-Goog-Expires=%d&", int(lifetime.Seconds())); err != nil || !strings.Contains(signed, want) {
			t.Errorf("Sign for %v = %s, %v, want %s", lifetime, signed, err, want)
		}
	}

	t.Setenv("GCE_METADATA_HOST", nowhere)
	alone := openBucket(t, gcp.BucketConfig{Bucket: theBucket, Endpoint: service.Addr, Signing: signing})
	if _, err := alone.Sign(t.Context(), "d/f", time.Hour); err == nil || !strings.Contains(err.Error(), "metadata server") {
		t.Errorf("Sign outside of Google Cloud = %v, want the missing part", err)
	}
}

func TestBucketConfigIsChecked(t *testing.T) {
	for want, c := range map[string]gcp.BucketConfig{
		"bucket":    {},
		"Bucket":    {Bucket: "Bucket"},
		"a/b":       {Bucket: "a/b"},
		"../x":      {Bucket: "bucket", Prefix: "../x"},
		"x/":        {Bucket: "bucket", Prefix: "x/"},
		"HOST:PORT": {Bucket: "bucket", Endpoint: "nowhere"},
	} {
		if _, err := gcp.OpenBucket(t.Context(), c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("OpenBucket(%+v) = %v, want an error that says %q", c, err, want)
		}
	}
}
