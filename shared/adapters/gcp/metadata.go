package gcp

import (
	"context"
	"fmt"
	"net/url"
	"path"
	"time"

	"cloud.google.com/go/compute/metadata"
)

// metadataFor limits a request to the metadata server, which is on the same machine.
const metadataFor = 5 * time.Second

// ServiceURL returns the address of a Cloud Run service in the project and region of this
// program, which it reads from the metadata server.
// https://cloud.google.com/run/docs/triggering/https-request#deterministic
func ServiceURL(ctx context.Context, service string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, metadataFor)
	defer cancel()
	number, err := metadata.NumericProjectIDWithContext(ctx)
	if err != nil {
		return "", fmt.Errorf("reading the project from the metadata server: %w", err)
	}
	region, err := metadata.GetWithContext(ctx, "instance/region") // projects/NUMBER/regions/REGION
	if err != nil {
		return "", fmt.Errorf("reading the region from the metadata server: %w", err)
	}
	return "https://" + service + "-" + number + "." + path.Base(region) + ".run.app", nil
}

// IDToken returns an ID token of the program's service account. The metadata server caches it
// as long as it is valid.
// https://cloud.google.com/run/docs/authenticating/service-to-service#use_the_metadata_server
func IDToken(ctx context.Context, audience string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, metadataFor)
	defer cancel()
	q := url.Values{"audience": {audience}, "format": {"full"}}
	token, err := metadata.GetWithContext(ctx, "instance/service-accounts/default/identity?"+q.Encode())
	if err != nil {
		return "", fmt.Errorf("the metadata server gives no ID token: %w", err)
	}
	return token, nil
}
