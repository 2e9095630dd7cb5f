package gcp

import (
	"context"
	"fmt"
	"net/url"
	"path"
	"time"

	"cloud.google.com/go/compute/metadata"
)

// metadataFor bounds a question to the metadata server, which is on the same machine.
const metadataFor = 5 * time.Second

// ServiceURL is the address of a Cloud Run service that runs in this place, as the
// metadata server knows the place.
// https://cloud.google.com/run/docs/triggering/https-request#deterministic
func ServiceURL(ctx context.Context, service string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, metadataFor)
	defer cancel()
	number, err := metadata.NumericProjectIDWithContext(ctx)
	if err != nil {
		return "", fmt.Errorf("the metadata server does not tell the project: %w", err)
	}
	region, err := metadata.GetWithContext(ctx, "instance/region") // projects/NUMBER/regions/REGION
	if err != nil {
		return "", fmt.Errorf("the metadata server does not tell the region: %w", err)
	}
	return "https://" + service + "-" + number + "." + path.Base(region) + ".run.app", nil
}

// IDToken is an ID token of the service account that the program runs as. The metadata
// server keeps it for as long as it is good.
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
