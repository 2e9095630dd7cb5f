package auth

import (
	"net/http"
	"net/netip"
	"strings"

	"errand/shared/loopback"
)

const (
	bearer    = "Bearer"
	keyHeader = "X-API-Key"
	// Cloud Run's own check reads cloudRunHeader instead of Authorization.
	// https://cloud.google.com/run/docs/authenticating/service-to-service
	cloudRunHeader = "X-Serverless-Authorization"
)

const (
	missing   reason = "no credentials"
	ambiguous reason = "more than one credential"
	malformed reason = "credentials that cannot be read"
)

// credential is the one API key or token of a client's request. The query has none: logs
// would show it.
func credential(h http.Header) (string, error) {
	authorization, key := h.Values("Authorization"), h.Values(keyHeader)
	switch {
	case len(authorization)+len(key) == 0:
		return "", missing
	case len(authorization)+len(key) > 1:
		return "", ambiguous
	case len(key) == 1:
		if !isToken68(key[0]) {
			return "", malformed
		}
		return key[0], nil
	}
	return bearerToken(authorization[0])
}

// bearerToken is what a header has after Bearer.
func bearerToken(header string) (string, error) {
	scheme, value, _ := strings.Cut(header, " ")
	value = strings.TrimLeft(value, " ") // RFC 9110, section 11.4: one or more
	if !strings.EqualFold(scheme, bearer) || !isToken68(value) {
		return "", malformed
	}
	return value, nil
}

// checkedToken is the one token of a request that Cloud Run has checked, and own the headers with
// the caller's other credentials. With both headers Cloud Run checks X-Serverless-Authorization alone,
// and passes Authorization on as it came: whoever may call could write anything there.
// https://cloud.google.com/run/docs/authenticating/service-to-service
func checkedToken(h http.Header) (raw string, own http.Header, err error) {
	tokens, own := h.Values(cloudRunHeader), h
	if len(tokens) == 0 && strings.HasSuffix(h.Get("Authorization"), removedByGoogle) {
		tokens, own = h.Values("Authorization"), h.Clone()
		own.Del("Authorization")
	}

	switch {
	case len(tokens) == 0:
		return "", own, nil
	case len(tokens) > 1:
		return "", own, ambiguous
	}
	raw, err = bearerToken(tokens[0])
	return raw, own, err
}

// doorToken is the one token of a request by a queue, bus or scheduler. These are Google's
// own and spell the header in one way. checked says that Cloud Run has checked it.
func doorToken(h http.Header, checked bool) (string, error) {
	if checked {
		if raw, _, err := checkedToken(h); raw != "" || err != nil {
			return raw, err
		}
	}

	authorization := h.Values("Authorization")
	switch {
	case len(authorization) == 0:
		return "", missing
	case len(authorization) > 1 || len(h.Values(cloudRunHeader)) > 0:
		return "", ambiguous
	}
	value, ok := strings.CutPrefix(authorization[0], bearer+" ")
	if !ok || !isToken68(value) {
		return "", malformed
	}
	return value, nil
}

// isToken68 is the form of what follows Bearer (RFC 6750, section 2.1).
func isToken68(s string) bool {
	const more = "-._~+/="
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && strings.IndexByte(more, c) < 0 {
			return false
		}
	}
	return s != "" && len(s) <= maxToken
}

// ClientAddr is the address of a request's sender, behind so many proxies of ours. Each
// proxy adds the address that it saw to X-Forwarded-For, and the client may have made up
// those before. IPv6 counts by /64, the network of one customer.
func ClientAddr(r *http.Request, proxies int) netip.Prefix {
	host := r.RemoteAddr
	if proxies > 0 {
		hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
		if i := len(hops) - proxies; i >= 0 {
			host = strings.TrimSpace(hops[i])
		}
	}
	return loopback.Network(host)
}
