package smoke

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
)

// keysPath is the path of the public keys by which receivers can check a webhook. A2A does
// not require them, so it is fine if they are missing.
const keysPath = "/.well-known/jwks.json"

// A publicKey has the members of a JSON Web Key (RFC 7517) that are checked.
type publicKey struct {
	Alg string `json:"alg"`
	D   string `json:"d"` // the private half of a key that has two
	K   string `json:"k"` // a shared secret
}

// keySet fetches and judges the public keys.
func (r *run) keySet(ctx context.Context) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.base.JoinPath(keysPath).String(), http.NoBody)
	if err != nil {
		return "", err
	}

	resp, err := r.client.Do(req)
	if a, ok := errors.AsType[*answer](err); ok {
		return "", noKeys(a)
	}
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()

	if resp.StatusCode == http.StatusNotFound {
		return "", omission("")
	}

	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return "", err
	}

	var set struct {
		Keys *[]publicKey `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil || set.Keys == nil {
		return "", remark(fmt.Sprintf("the text at %s is no key set (%d). Errand has its public keys there", keysPath, resp.StatusCode))
	}

	return judgeKeys(*set.Keys)
}

// noKeys explains an answer that is no key set.
func noKeys(a *answer) error {
	switch {
	case a.status == http.StatusNotFound:
		return omission("")
	case a.status == http.StatusServiceUnavailable && !a.page:
		return wrong([]string{
			"the secret errand-keys has no version, or cardserver may not read it: its log says which. Webhooks wait until it can",
			"on Google Cloud: go run ./cardserver keys | gcloud secrets versions add errand-errand-keys --data-file=- (infra/README.md, step 4)",
			"elsewhere: in the place that ERRAND_SECRETS names; with env: it is ERRAND_KEYS",
		}, "%s: %s", keysPath, a.Error())
	}
	return a
}

// judgeKeys checks that receivers can use the keys, and that none of them is private.
func judgeKeys(all []publicKey) (string, error) {
	if len(all) == 0 {
		return "", wrong([]string{"receivers cannot check webhooks: the log of cardserver has the reason"}, "the key set at %s is empty", keysPath)
	}
	var others []string
	for _, k := range all {
		switch {
		case k.D != "" || k.K != "":
			return "", wrong([]string{"every reader of it can sign as this agent: replace the keys, and correct the server that shows them"}, "the key set at %s shows a private key", keysPath)
		case k.Alg != "ES256" && !slices.Contains(others, quote(k.Alg)):
			others = append(others, quote(k.Alg))
		}
	}
	if len(others) > 0 {
		return "", remark(fmt.Sprintf("the key set has keys for %q. Errand signs tokens with ES256", strings.Join(others, ", ")))
	}
	return fmt.Sprintf("%d public keys, to check the tokens of webhooks and the card by", len(all)), nil
}
