// Package gemini is the language model behind the Gemini API with a key: it
// implements model.Model with Google's genai client, for Google's own service
// or anything else that speaks the same API.
//
// It reads no environment variable and makes no retries: what is not in its
// Config does not change it, and the turn decides what follows a failed step.
// It sets no sampling parameters; Google deprecates them from Gemini 3.6 on.
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
)

// googleURL is where Google serves the Gemini API. It is always given to the
// genai client, which would ask GOOGLE_GEMINI_BASE_URL otherwise.
const googleURL = "https://generativelanguage.googleapis.com/"

// names are the model names that fit a URL path as they are; genai takes the
// prefixes "models/" and "tunedModels/" too.
var names = regexp.MustCompile(`^((models|tunedModels)/)?[A-Za-z0-9][A-Za-z0-9._-]*$`)

// Config says which model to talk to. Name and APIKey are required.
type Config struct {
	Name       string       // of the model, for example gemini-3.6-flash
	APIKey     string       // sent in a header, never in a URL
	BaseURL    string       // of a service that speaks the Gemini API; empty: Google's
	HTTPClient *http.Client // whose Transport carries the requests; nil: the default one
}

// Model is a model behind the Gemini API.
type Model struct {
	name   string
	key    string
	client *genai.Client
}

var _ model.Model = (*Model)(nil)

// New makes a Model. It does not reach for the network; see Check.
func New(ctx context.Context, c Config) (*Model, error) {
	if !names.MatchString(c.Name) {
		return nil, fmt.Errorf("gemini: %q is not a model name", c.Name)
	}
	if c.APIKey == "" {
		return nil, errors.New("gemini: no API key (https://ai.google.dev/gemini-api/docs/api-key)")
	}
	if c.BaseURL == "" {
		c.BaseURL = googleURL
	}
	if u, err := url.Parse(c.BaseURL); err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return nil, errors.New("gemini: the base URL is not an http or https URL with a host")
	}
	client, err := genai.NewClient(ctx, &genai.ClientConfig{
		Backend:     genai.BackendGeminiAPI,
		APIKey:      c.APIKey,
		HTTPClient:  guarded(c.HTTPClient),
		HTTPOptions: genai.HTTPOptions{BaseURL: c.BaseURL, APIVersion: "v1beta"},
	})
	if err != nil {
		// genai's text holds the whole configuration, so it is not passed on.
		return nil, errors.New("gemini: the client refused its configuration")
	}
	return &Model{name: c.Name, key: c.APIKey, client: client}, nil
}

// Name gives the model's name as configured.
func (m *Model) Name() string { return m.name }

// Check fetches the description of the model (models.get), which needs a valid
// key and an existing name and costs no tokens, and sees that the model
// generates content at all. What is wrong comes back as an *model.Error.
func (m *Model) Check(ctx context.Context) error {
	ctx, call := withCall(ctx)
	info, err := m.client.Models.Get(ctx, m.name, nil)
	if err != nil {
		return m.failure(ctx, call, err)
	}
	if a := info.SupportedActions; len(a) > 0 && !slices.Contains(a, "generateContent") {
		return &model.Error{Code: http.StatusNotFound, Status: "NOT_FOUND", Message: m.name + " does not generate content"}
	}
	return nil
}
