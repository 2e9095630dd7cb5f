package auth

import (
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

// A DoorConfig names the callers that a door lets in.
type DoorConfig struct {
	// Issuer is the iss of the tokens, to the letter: [GoogleIssuer]. Required.
	Issuer string
	// Audience is the only aud that a token may have. If each door has its own audience, a
	// token for one opens no other. Required.
	Audience string
	// Emails are the service accounts that may come in. Required.
	Emails []string
	// Keys are the issuer's, shared between doors. Required.
	Keys *Keys
	// Checked says that Cloud Run's own check is on in front of the program, so that the only
	// token which comes without its signature is one that Cloud Run has checked.
	Checked bool
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Log gets one line for a refused request, without its token, and at most about
	// one a second. Required.
	Log *slog.Logger
}

// A Door stands in front of a handler.
type Door func(http.Handler) http.Handler

// NewDoor makes a door for a handler that only our own queue, bus or scheduler may call. It
// lets in requests with an ID token of one of the service accounts, and no others, with any
// other headers.
//
// It answers 401 or 403, which make Cloud Tasks try that one task again later: 429 or 5xx
// would slow the whole queue. Only if the issuer's keys cannot be fetched, and no token
// could be checked anyway, it answers 503.
func NewDoor(c DoorConfig) (Door, error) {
	switch {
	case checkURL(c.Issuer) != nil:
		return nil, errors.New("the door needs an issuer such as " + GoogleIssuer)
	case c.Audience == "":
		return nil, errors.New("the door needs the audience of the tokens sent to it, such as the service's address")
	case len(c.Emails) == 0 || slices.ContainsFunc(c.Emails, func(e string) bool { return !isEmail(e) }):
		return nil, errors.New("ERRAND_INVOKER must be the e-mail address of the service account that calls this service, such as errand-invoker@PROJECT.iam.gserviceaccount.com")
	case c.Keys == nil || c.Log == nil:
		return nil, errors.New("the door needs keys and a log")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	d := &door{
		verifier: verifier{issuer: c.Issuer, audiences: []string{c.Audience}, keys: c.Keys, now: c.Now},
		emails:   slices.Clone(c.Emails), checked: c.Checked, log: c.Log, lines: rate.NewLimiter(rate.Every(time.Second), 10),
	}
	return d.guard, nil
}

type door struct {
	verifier
	emails  []string
	checked bool
	log     *slog.Logger
	lines   *rate.Limiter
}

const stranger reason = "not of the expected service account, or its e-mail address is not verified"

func (d *door) guard(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := d.admit(r)
		if err == nil {
			h.ServeHTTP(w, r)
			return
		}
		if d.lines.AllowN(d.now(), 1) {
			d.log.WarnContext(r.Context(), "request refused at the door", "path", r.URL.Path, "reason", reasonOf(err), "audience", d.audiences[0], "err", cause(err))
		}
		switch {
		case errors.Is(err, errKeys):
			w.Header().Set("Retry-After", strconv.Itoa(int(fetchEvery.Seconds())))
			http.Error(w, "the token cannot be checked now", http.StatusServiceUnavailable)
		case errors.Is(err, stranger):
			http.Error(w, "not for you", http.StatusForbidden)
		default:
			w.Header().Set("WWW-Authenticate", bearer+` realm="`+realm+`"`)
			http.Error(w, "an ID token of this deployment is required", http.StatusUnauthorized)
		}
	})
}

func (d *door) admit(r *http.Request) error {
	raw, err := doorToken(r.Header, d.checked)
	if err != nil {
		return err
	}
	t, err := parseToken(raw, d.checked)
	if err != nil {
		return err
	}
	if err := d.verify(r.Context(), t); err != nil {
		return err
	}
	if !slices.Contains(d.emails, t.claims.verifiedEmail()) {
		return stranger
	}
	return nil
}

// cause is the reason why the issuer did not answer; nil for a verdict, which has its own
// reason.
func cause(err error) error {
	if errors.Is(err, errKeys) {
		return err
	}
	return nil
}

// isEmail reports whether s looks like an address. It finds slips of the operator, and no
// mail is sent.
func isEmail(s string) bool {
	name, host, ok := strings.Cut(s, "@")
	return ok && name != "" && strings.Contains(host, ".") && !strings.ContainsAny(s, " ,;<>") && len(s) <= maxName
}
