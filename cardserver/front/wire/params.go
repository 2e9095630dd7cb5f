package wire

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"errand/shared/dialect"
)

// The service parameters of a request (3.2.6), under net/http's spelling.
const (
	headerVersion      = "A2a-Version"
	headerExtensions   = "A2a-Extensions"
	headerExtensions03 = "X-A2a-Extensions"
)

// versions are the versions that every interface here speaks.
const versions = dialect.Version1 + ", " + dialect.Version03

// begin reads the service parameters and attaches the SDK's call context, with these
// parameters and not with every header, as the SDK's transports do: the headers hold
// credentials. The version is the request's own. A user that an outer handler attached
// stays.
func (c *call) begin() (context.Context, error) {
	if err := checkVersion(c.r, c.dialect.Version()); err != nil {
		return nil, err
	}
	asked, err := c.extensions()
	if err != nil {
		return nil, err
	}
	params := map[string][]string{a2a.SvcParamVersion: {c.dialect.Version()}}
	if len(asked) > 0 {
		params[a2a.SvcParamExtensions] = asked
	}
	ctx := context.WithValue(c.r.Context(), chargeKey{}, c.charge)
	outer, ok := a2asrv.CallContextFrom(ctx)
	ctx, c.cc = a2asrv.NewCallContext(ctx, a2asrv.NewServiceParams(params))
	if ok {
		c.cc.User = outer.User
	}
	return ctx, c.activate(asked)
}

// checkVersion refuses a version that is not spoken here, and one that contradicts own. The
// method or path of a request decides own, and an unknown one has none. A request without a
// version is served by its own: no two versions share a method or path (decision 23).
func checkVersion(r *http.Request, own string) error {
	asked := slices.Clone(r.Header[headerVersion])
	if r.URL.RawQuery != "" {
		for name, values := range r.URL.Query() {
			if strings.EqualFold(name, a2a.SvcParamVersion) {
				if len(values) > 1 {
					return versionError(a2a.SvcParamVersion + " is given more than once")
				}
				asked = append(asked, values[0])
			}
		}
	}

	if len(r.Header[headerVersion]) > 1 {
		return versionError(a2a.SvcParamVersion + " is given more than once")
	}

	for _, v := range asked {
		switch v = withoutPatch(strings.TrimSpace(v)); v {
		case "", own:
		case dialect.Version1, dialect.Version03:
			if own != "" {
				return versionError("this is a request of A2A " + own + ", and " + a2a.SvcParamVersion + " says " + v)
			}
			own = v
		default:
			if major, minor, ok := strings.Cut(v, "."); ok && isNumber(major) && isNumber(minor) {
				return versionError("A2A " + v + " is not served here")
			}
			return versionError("send " + a2a.SvcParamVersion + " as Major.Minor, or not at all")
		}
	}

	return nil
}

// withoutPatch is the Major.Minor of a version. A patch number does not change the protocol
// (3.6), and clients name the release that they were written for.
func withoutPatch(v string) string {
	part := strings.Split(v, ".")
	if len(part) == 3 && isNumber(part[2]) {
		return part[0] + "." + part[1]
	}
	return v
}

// isNumber tells whether s can be a number of a version.
func isNumber(s string) bool {
	return s != "" && len(s) <= 9 && strings.Trim(s, "0123456789") == ""
}

func versionError(message string) error {
	return a2a.NewError(a2a.ErrVersionNotSupported, message+"; this interface speaks "+versions).
		WithErrorInfoMeta(map[string]string{"supportedVersions": versions})
}

// extensions are the URIs that the client asked for, each once.
func (c *call) extensions() ([]string, error) {
	lines := c.r.Header[headerExtensions]
	if c.dialect != dialect.V1 {
		lines = append(slices.Clip(lines), c.r.Header[headerExtensions03]...)
	}
	var uris []string
	for _, line := range lines {
		for uri := range strings.SplitSeq(line, ",") {
			if uri = strings.TrimSpace(uri); uri != "" {
				uris = append(uris, uri)
			}
		}
	}
	if len(uris) > maxExtensions {
		return nil, a2a.NewError(a2a.ErrInvalidRequest, a2a.SvcParamExtensions+" names more than "+strconv.Itoa(maxExtensions)+" extensions")
	}
	return unique(uris), nil
}

// activate activates the declared extensions that were asked for, and ignores others. A
// required one must have been asked for (3.3.4).
func (c *call) activate(asked []string) error {
	for i := range c.options.Extensions {
		e := &c.options.Extensions[i]
		switch {
		case slices.Contains(asked, e.URI):
			c.cc.Extensions().Activate(e)
		case e.Required:
			return a2a.NewError(a2a.ErrExtensionSupportRequired, "this agent requires the extension "+e.URI+"; name it in "+a2a.SvcParamExtensions).
				WithErrorInfoMeta(map[string]string{"extension": e.URI})
		}
	}
	return nil
}

// echo names the active extensions (3.2.6).
func (c *call) echo() {
	uris := c.cc.Extensions().ActivatedURIs()
	if len(uris) == 0 {
		return
	}
	name := headerExtensions
	if c.dialect != dialect.V1 {
		name = headerExtensions03
	}
	c.w.Header()[name] = []string{strings.Join(uris, ", ")}
}
