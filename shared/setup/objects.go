package setup

import (
	"fmt"
	"strings"

	"errand/shared/adapters/gcp"
	"errand/shared/auth"
	"errand/shared/objects"
)

// objects makes the reader of objects in buckets, by the rights of the access file. It calls
// nothing, and a program that reads no objects needs no credentials.
func (o *opening) objects(to *objects.Guarded, access *auth.Access) {
	endpoint, err := objectsOf(o.env.Objects)
	if err != nil {
		o.note(fmt.Errorf("ERRAND_OBJECTS: %w", err))
		return
	}
	source, err := gcp.NewObjects(gcp.ObjectsConfig{Endpoint: endpoint, Log: o.log})
	if err != nil {
		o.note(fmt.Errorf("ERRAND_OBJECTS: %w", err))
		return
	}
	*to = objects.Guarded{Source: source, May: access.MayRead}
	o.closes(source)
}

// objectsOf reads the spec of the place of objects: gs: or gs:@HOST:PORT.
func objectsOf(spec string) (endpoint string, err error) {
	kind, details, _ := strings.Cut(spec, ":")
	name, endpoint, server := strings.Cut(details, "@")
	if spec != "" && (kind != "gs" || name != "" || server && endpoint == "") {
		return "", fmt.Errorf("%q is not known; use gs: or gs:@HOST:PORT. The access file names the buckets", spec)
	}
	return endpoint, nil
}
