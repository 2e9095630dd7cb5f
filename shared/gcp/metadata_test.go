package gcp_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"errand/shared/gcp"
)

// The address is put together from what the metadata server knows of the place.
func TestServiceURL(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Metadata-Flavor", "Google")
		switch {
		case r.Header.Get("Metadata-Flavor") != "Google":
			http.Error(w, "not asked properly", http.StatusForbidden)
		case strings.HasSuffix(r.URL.Path, "/project/numeric-project-id"):
			_, _ = w.Write([]byte("123"))
		case strings.HasSuffix(r.URL.Path, "/instance/region"):
			_, _ = w.Write([]byte("projects/123/regions/europe-west1"))
		default:
			http.NotFound(w, r)
		}
	}))
	defer srv.Close()
	t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(srv.URL, "http://"))
	got, err := gcp.ServiceURL(t.Context(), "errand-cardserver")
	if want := "https://errand-cardserver-123.europe-west1.run.app"; err != nil || got != want {
		t.Errorf("ServiceURL = %q, %v, want %q", got, err, want)
	}
}
