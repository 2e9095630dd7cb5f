package gemini_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"cloud.google.com/go/compute/metadata"

	"errand/shared/adapters/gemini"
	"errand/shared/adapters/standin"
	"errand/shared/lab/scripts"
)

// TestMain lets the test binary act as a program that calls Vertex AI once, in the
// environment of its parent. A process of its own is necessary because Google's libraries
// cache their findings about the machine until the process ends.
func TestMain(m *testing.M) {
	if base := os.Getenv("ERRAND_TEST_ASK"); base != "" {
		m, err := gemini.New(context.Background(), gemini.Config{Name: "gemini-x", BaseURL: base, Vertex: &gemini.Vertex{Project: "p", Location: "global"}})
		if err == nil {
			err = m.Check(context.Background())
		}
		fmt.Print(err)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestWhereCredentialsAreFound tries the places in their order.
func TestWhereCredentialsAreFound(t *testing.T) {
	asked := make(chan [2]string, 1) // token and quota project
	script := scripts.New()
	service := standin.New(script.Answer)
	vertex := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- [2]string{r.Header.Get("Authorization"), r.Header.Get("X-Goog-User-Project")}
		service.ServeHTTP(w, r)
	}))

	defer vertex.Close()
	instance := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Metadata-Flavor", "Google")
		if r.Header.Get("Metadata-Flavor") != "Google" || !strings.HasSuffix(r.URL.Path, "/instance/service-accounts/default/token") {
			http.Error(w, "no such thing", http.StatusNotFound)
			return
		}
		io.WriteString(w, `{"access_token":"of-the-instance","token_type":"Bearer","expires_in":3600}`)
	}))

	defer instance.Close()
	home := t.TempDir()
	login(t, (&tokens{}).ServeHTTP, "quota_project_id", "payer")
	file := os.Getenv("GOOGLE_APPLICATION_CREDENTIALS")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}

	os.MkdirAll(filepath.Join(home, ".config", "gcloud"), 0o700)
	write(t, filepath.Join(home, ".config", "gcloud", "application_default_credentials.json"), string(b))
	broken := filepath.Join(home, "broken.json")
	write(t, broken, `{"type":"service_account","private_key":"hush`)

	const remedy = "gcloud auth application-default login"
	for _, tt := range []struct {
		name         string
		env          []string
		said         []string // nil: no error
		token, quota string
	}{
		{"file", []string{"HOME=" + t.TempDir(), "GOOGLE_APPLICATION_CREDENTIALS=" + file}, nil, "Bearer the-token-1", "payer"},
		{"gcloud's file", []string{"HOME=" + home, "APPDATA=" + filepath.Join(home, ".config")}, nil, "Bearer the-token-2", "payer"},
		{"Cloud Run", []string{"HOME=" + t.TempDir(), "GCE_METADATA_HOST=" + strings.TrimPrefix(instance.URL, "http://")}, nil, "Bearer of-the-instance", ""},
		{"no such file", []string{"HOME=" + home, "GOOGLE_APPLICATION_CREDENTIALS=" + home + "/none.json"}, []string{remedy, "none.json"}, "", ""},
		{"broken file", []string{"HOME=" + home, "GOOGLE_APPLICATION_CREDENTIALS=" + broken}, []string{remedy}, "", ""},
		{"nothing", []string{"HOME=" + t.TempDir()}, []string{remedy, "service account"}, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.name == "nothing" && metadata.OnGCE() {
				t.Skip("this machine has a service account of its own")
			}

			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}

			program := exec.CommandContext(t.Context(), self)
			program.Env = append(tt.env, "ERRAND_TEST_ASK="+vertex.URL)
			out, err := program.CombinedOutput()
			said := string(out)
			if err != nil || (tt.said == nil) != (said == "<nil>") || strings.Contains(said, "hush") {
				t.Errorf("said %s, %v", said, err)
			}

			for _, s := range tt.said {
				if !strings.Contains(said, s) {
					t.Errorf("said %s, want %q", said, s)
				}
			}

			var got [2]string
			select {
			case got = <-asked:
			default:
			}

			if want := [2]string{tt.token, tt.quota}; got != want {
				t.Errorf("sent %q, want %q", got, want)
			}
		})
	}
}

func TestLocations(t *testing.T) {
	for location, want := range map[string]string{
		"global":       "aiplatform.googleapis.com",
		"us":           "aiplatform.us.rep.googleapis.com",
		"eu":           "aiplatform.eu.rep.googleapis.com",
		"europe-west1": "europe-west1-aiplatform.googleapis.com",
	} {
		login(t, (&tokens{}).ServeHTTP)
		var host, path string
		m, err := gemini.New(t.Context(), gemini.Config{
			Name: "gemini-x", Vertex: &gemini.Vertex{Project: "example.com:p", Location: location},
			HTTPClient: &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				host, path = r.URL.Host, r.URL.Path
				return nil, errors.New("offline")
			})},
		})
		if err != nil {
			t.Fatal(err)
		}
		m.Check(t.Context())
		if wantPath := "/v1beta1/projects/example.com:p/locations/" + location + "/publishers/google/models/gemini-x:countTokens"; host != want || path != wantPath {
			t.Errorf("%s is asked at %s%s, want %s%s", location, host, path, want, wantPath)
		}
	}
}
