package wire

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
)

// The service parameters of a request (3.2.6), under net/http's spelling.
const (
	headerVersion    = "A2a-Version"
	headerExtensions = "A2a-Extensions"
)

// checkVersion refuses a request for another version than 1.0. One that names
// none is served by its shape, which no other version shares.
func checkVersion(r *http.Request) error {
	asked := r.Header[headerVersion]
	if r.URL.RawQuery != "" {
		asked = append(slices.Clip(asked), r.URL.Query()[a2a.SvcParamVersion]...)
	}
	for _, line := range asked {
		for v := range strings.SplitSeq(line, ",") {
			if v = strings.TrimSpace(v); v != "" && v != string(a2a.Version) {
				return a2a.NewError(a2a.ErrVersionNotSupported, "this interface speaks A2A "+string(a2a.Version)+" only").
					WithErrorInfoMeta(map[string]string{"supportedVersions": string(a2a.Version)})
			}
		}
	}
	return nil
}

// withCall attaches the SDK's call context with the two service parameters, and
// not with every header, as the SDK's transport does: credentials are among them.
// A user that an outer handler attached stays.
func withCall(ctx context.Context, r *http.Request) (context.Context, *a2asrv.CallContext, error) {
	params := map[string][]string{}
	if lines := r.Header[headerExtensions]; len(lines) > 0 {
		var uris []string
		for _, line := range lines {
			for uri := range strings.SplitSeq(line, ",") {
				if uri = strings.TrimSpace(uri); uri != "" {
					uris = append(uris, uri)
				}
			}
		}
		if len(uris) > maxExtensions {
			return ctx, nil, a2a.NewError(a2a.ErrInvalidRequest, a2a.SvcParamExtensions+" names more than "+strconv.Itoa(maxExtensions)+" extensions")
		}
		params[a2a.SvcParamExtensions] = unique(uris)
	}
	outer, ok := a2asrv.CallContextFrom(ctx)
	ctx, call := a2asrv.NewCallContext(ctx, a2asrv.NewServiceParams(params))
	if ok {
		call.User = outer.User
	}
	return ctx, call, nil
}

// echoExtensions names the extensions that the handler has activated (3.2.6).
func echoExtensions(h http.Header, call *a2asrv.CallContext) {
	if uris := call.Extensions().ActivatedURIs(); len(uris) > 0 {
		h[headerExtensions] = []string{strings.Join(uris, ", ")}
	}
}
