package gemini

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"

	"cloud.google.com/go/auth/credentials"
	"google.golang.org/genai"
)

// Vertex names the place of the model on Vertex AI. Both fields are required. The
// application default credentials identify the caller.
type Vertex struct {
	Project  string // GOOGLE_CLOUD_PROJECT: the project that calls the model and pays
	Location string // GOOGLE_CLOUD_LOCATION: global, us, eu, or a region that has the model
}

// login is the remedy for missing or refused credentials.
const login = "run `gcloud auth application-default login`, or on Google Cloud let the service run as a service account that may use Vertex AI"

// The project and the location become parts of a path, and the location also a part of the
// host that receives a token. So both must be plain names.
var (
	vertexNames = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
	projects    = regexp.MustCompile(`^[a-z0-9][a-z0-9.:-]*$`) // a domain's project: example.com:name
	locations   = regexp.MustCompile(`^[a-z]+(-[a-z0-9]+)*$`)
)

func (v Vertex) backend(ctx context.Context, name string) (none genai.ClientConfig, who credential, err error) {
	switch {
	case !vertexNames.MatchString(name):
		return none, who, fmt.Errorf("%q is not a model name on Vertex AI", name)
	case v.Project == "":
		return none, who, errors.New("no project for Vertex AI; set GOOGLE_CLOUD_PROJECT to the project's id")
	case !projects.MatchString(v.Project):
		return none, who, fmt.Errorf("GOOGLE_CLOUD_PROJECT: %q is not a project's id", v.Project)
	case v.Location == "":
		return none, who, errors.New("no location for Vertex AI; set GOOGLE_CLOUD_LOCATION to global, or to a region that has the model")
	case !locations.MatchString(v.Location):
		return none, who, fmt.Errorf("GOOGLE_CLOUD_LOCATION: %q is not a location; use global, or a region such as europe-west1", v.Location)
	}

	found, err := credentials.DetectDefault(&credentials.DetectOptions{
		Scopes: []string{"https://www.googleapis.com/auth/cloud-platform"},
	})
	if err != nil {
		return none, who, fmt.Errorf("no credentials for Vertex AI (%w); %s", err, login)
	}

	quota, err := found.QuotaProjectID(ctx)
	if err != nil {
		return none, who, fmt.Errorf("reading the quota project of the credentials: %w", err)
	}

	headers := http.Header{}
	if quota != "" { // credentials of a person, which belong to no project
		headers.Set("X-Goog-User-Project", quota)
	}

	return genai.ClientConfig{
		Backend:     genai.BackendVertexAI,
		Project:     v.Project,
		Location:    v.Location,
		HTTPOptions: genai.HTTPOptions{BaseURL: v.url(), APIVersion: "v1beta1", Headers: headers},
	}, tokenCredential(found), nil
}

// url is the address of the location at Google. The genai client always gets it, because it
// would otherwise read GOOGLE_VERTEX_BASE_URL.
// https://cloud.google.com/vertex-ai/generative-ai/docs/learn/locations
func (v Vertex) url() string {
	switch v.Location {
	case "global":
		return "https://aiplatform.googleapis.com/"
	case "us", "eu":
		return "https://aiplatform." + v.Location + ".rep.googleapis.com/"
	}
	return "https://" + v.Location + "-aiplatform.googleapis.com/"
}
