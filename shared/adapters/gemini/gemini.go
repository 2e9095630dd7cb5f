// Package gemini calls a language model at the Gemini API with a key, or at Vertex AI with
// the identity of the program. It implements model.Model with Google's genai client, for
// Google's own services and for others that speak the same API.
//
// It does not retry: the turn decides how to continue after a failed step. No environment
// variable changes the model, the service or the key. The one exception is application
// default credentials, which Google's libraries find in their usual places. The package
// sets no sampling parameters, because Google deprecates them from Gemini 3.6 on.
package gemini

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"time"

	"google.golang.org/genai"

	"errand/shared/model"
	"errand/shared/secret"
)

// googleURL is the address of the Gemini API at Google. The genai client always gets it,
// because it would otherwise read GOOGLE_GEMINI_BASE_URL.
const googleURL = "https://generativelanguage.googleapis.com/"

// names matches the model names that fit a URL path unchanged. genai also accepts the
// prefixes "models/" and "tunedModels/".
var names = regexp.MustCompile(`^((models|tunedModels)/)?[A-Za-z0-9][A-Za-z0-9._-]*$`)

// Config names the model and its service. Name is required, and Key or Vertex.
type Config struct {
	Name string // of the model, for example gemini-3.6-flash

	// Key returns the key of the Gemini API. It is called for every request, so that a
	// rotated key takes effect. The key is sent in a header, never in a URL.
	Key func(context.Context) (secret.Value, error)

	Vertex     *Vertex      // call Vertex AI instead, with application default credentials
	BaseURL    string       // of a service that speaks the same API; empty: Google's
	HTTPClient *http.Client // its Transport carries the requests; nil: the default client

	Silence time.Duration // how long the service may take to its first chunk; 0: 5 min
}

// Model is a model at the Gemini API or Vertex AI.
type Model struct {
	name   string
	vertex bool
	first  time.Duration // the longest silence before the first chunk
	client *genai.Client
}

var (
	_ model.Model        = (*Model)(nil)
	_ model.ObjectReader = (*Model)(nil)
)

// New makes a Model. It does not call the model's service; see Check. With Vertex it looks
// for credentials. On a machine without credentials this takes until the search for a
// metadata server times out.
func New(ctx context.Context, c Config) (*Model, error) {
	config, who, err := c.backend(ctx)
	if err != nil {
		return nil, fmt.Errorf("gemini: %w", err)
	}
	if c.BaseURL != "" {
		config.HTTPOptions.BaseURL = c.BaseURL
	}
	if u, err := url.Parse(config.HTTPOptions.BaseURL); err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return nil, errors.New("gemini: the base URL is not an http or https URL with a host")
	}
	// genai supports neither keys that change nor our limits, so the transport does. The
	// transport replaces genai's own key, which only keeps genai from reading one from the
	// environment.
	config.APIKey = "unused"
	config.HTTPClient = guarded(c.HTTPClient, who)
	client, err := genai.NewClient(ctx, &config)
	if err != nil {
		// genai's message quotes the whole configuration, so it is not passed on.
		return nil, errors.New("gemini: the client refused its configuration")
	}
	return &Model{name: c.Name, vertex: c.Vertex != nil, first: cmp.Or(c.Silence, silentFirst), client: client}, nil
}

// backend returns genai's configuration for the service, and the credential to call it with.
func (c Config) backend(ctx context.Context) (genai.ClientConfig, credential, error) {
	if c.Vertex != nil {
		return c.Vertex.backend(ctx, c.Name)
	}
	switch {
	case !names.MatchString(c.Name):
		return genai.ClientConfig{}, credential{}, fmt.Errorf("%q is not a model name", c.Name)
	case c.Key == nil:
		return genai.ClientConfig{}, credential{}, errors.New("no API key (https://ai.google.dev/gemini-api/docs/api-key)")
	}
	return genai.ClientConfig{
		Backend:     genai.BackendGeminiAPI,
		HTTPOptions: genai.HTTPOptions{BaseURL: googleURL, APIVersion: "v1beta"},
	}, keyCredential(c.Key), nil
}

// ReadsObjects implements model.ObjectReader. Vertex AI reads objects of buckets, and the Gemini
// API refuses their addresses. https://github.com/googleapis/python-genai/issues/71
func (m *Model) ReadsObjects() bool { return m.vertex }

// Name returns the model's name as configured.
func (m *Model) Name() string { return m.name }

// Check tests whether the model can be used, without generating content and free of
// charge. With a key it fetches the model's description (models.get), which also says
// whether the model generates content. On Vertex AI the description needs a permission of
// its own that the program needs nowhere else. Counting the tokens of one word needs the
// permission that generating needs (aiplatform.endpoints.predict), so Check counts there
// and tests the permission too. Its errors are *model.Error.
func (m *Model) Check(ctx context.Context) error {
	ctx, call := withCall(ctx)
	if m.vertex {
		if _, err := m.client.Models.CountTokens(ctx, m.name, genai.Text("hello"), nil); err != nil {
			return failure(ctx, call, err)
		}
		return nil
	}
	info, err := m.client.Models.Get(ctx, m.name, nil)
	if err != nil {
		return failure(ctx, call, err)
	}
	if a := info.SupportedActions; len(a) > 0 && !slices.Contains(a, "generateContent") {
		return &model.Error{Code: http.StatusNotFound, Status: "NOT_FOUND", Message: m.name + " does not generate content"}
	}
	return nil
}
