package gcp

import (
	"context"
	"fmt"
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
