// Package gemini is the language model behind the Gemini API with a key, or behind
// Vertex AI with the identity of the program: it implements model.Model with Google's
// genai client, for Google's own services or anything else that speaks the same API.
//
// It makes no retries: the turn decides what follows a failed step. No environment
// variable changes which model is asked, where, or with which key; application default
// credentials alone are found as Google's libraries find them everywhere. It sets no
// sampling parameters; Google deprecates them from Gemini 3.6 on.
package gemini

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"

	"google.golang.org/genai"

	"errand/shared/model"
	"errand/shared/secret"
)

// googleURL is where Google serves the Gemini API. It is always given to the
// genai client, which would ask GOOGLE_GEMINI_BASE_URL otherwise.
const googleURL = "https://generativelanguage.googleapis.com/"

// names are the model names that fit a URL path as they are; genai takes the
// prefixes "models/" and "tunedModels/" too.
var names = regexp.MustCompile(`^((models|tunedModels)/)?[A-Za-z0-9][A-Za-z0-9._-]*$`)

// Config says which model to talk to. Name is required, and Key or Vertex.
type Config struct {
	Name string // of the model, for example gemini-3.6-flash

	// Key gives the key of the Gemini API. It is asked at every request, so that a
	// rotated key is seen, and the key is sent in a header, never in a URL.
	Key func(context.Context) (secret.Value, error)

	Vertex     *Vertex      // ask Vertex AI instead, with application default credentials
	BaseURL    string       // of a service that speaks the same API; empty: Google's
	HTTPClient *http.Client // whose Transport carries the requests; nil: the default one
}

// Model is a model behind the Gemini API or Vertex AI.
type Model struct {
	name   string
	vertex bool
	client *genai.Client
}

var _ model.Model = (*Model)(nil)

// New makes a Model. It does not reach for the model's service; see Check. With Vertex
// it looks for credentials, which on a machine without any takes until it is clear that
// there is no metadata server.
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
	// genai knows neither keys that change nor our limits. Its own key is a word that
	// the transport replaces; with it genai looks for no key in the environment.
	config.APIKey = "unused"
	config.HTTPClient = guarded(c.HTTPClient, who)
	client, err := genai.NewClient(ctx, &config)
	if err != nil {
		// genai's text holds the whole configuration, so it is not passed on.
		return nil, errors.New("gemini: the client refused its configuration")
	}
	return &Model{name: c.Name, vertex: c.Vertex != nil, client: client}, nil
}

// backend gives what genai must know of the service, and who asks it.
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

// Name gives the model's name as configured.
func (m *Model) Name() string { return m.name }

// Check sees that the model can be used, without generating anything and free of
// charge. With a key it fetches the model's description (models.get), which says too
// whether the model generates content at all. On Vertex AI that is a right of its own,
// which the program needs for nothing else; counting the tokens of one word needs what
// generating needs (aiplatform.endpoints.predict), so it sees the rights as well.
// What is wrong comes back as an *model.Error.
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
