package gcp_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"errand/shared/adapters/gcp"
)

// The address contains the project and the region from the metadata server.
func TestServiceURL(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Metadata-Flavor", "Google")
		switch {
		case r.Header.Get("Metadata-Flavor") != "Google":
			http.Error(w, "the header Metadata-Flavor is missing", http.StatusForbidden)
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

// An ID token is for one audience, which may contain any character. Without a token there is
// an error, and no value that could be sent.
func TestIDToken(t *testing.T) {
	const audience = "https://hooks.example.com/a b?x=1&format=short#%"
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Metadata-Flavor", "Google")
		if !strings.HasSuffix(r.URL.Path, "/instance/service-accounts/default/identity") || r.Header.Get("Metadata-Flavor") != "Google" {
			http.NotFound(w, r)
			return
		}
		q := r.URL.Query()
		if len(q["audience"]) != 1 || q.Get("audience") != audience || len(q["format"]) != 1 || q.Get("format") != "full" {
			http.Error(w, "the audience is refused", http.StatusBadRequest)
			return
		}
		_, _ = w.Write([]byte("header.claims.signature"))
	}))
	defer srv.Close()
	t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(srv.URL, "http://"))
	if got, err := gcp.IDToken(t.Context(), audience); err != nil || got != "header.claims.signature" {
		t.Errorf("IDToken(%q) = %q, %v", audience, got, err)
	}
	got, err := gcp.IDToken(t.Context(), "https://other.example.com")
	if err == nil || !strings.Contains(err.Error(), "gives no ID token") || got != "" {
		t.Errorf("IDToken of a refused audience = %q, %v, want only an error", got, err)
	}
}
