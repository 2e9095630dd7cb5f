package webhook

import (
	"errors"
	"strings"
)

// Schemes of authentication that can be performed, in the spelling of our own errors.
// Their names are case-insensitive (P10).
const (
	Basic         = "Basic"           // with the client's credentials
	Bearer        = "Bearer"          // with the client's credentials, or without: with a token of ours for each attempt
	GoogleIDToken = "Google-ID-Token" // Bearer, with an ID token of the deliverer's service account, for receivers behind IAM
)

// What is wrong with an authentication. The text is for the client.
var (
	ErrScheme      = errors.New("must be Basic, Bearer, or on Google Cloud Google-ID-Token; no other can be performed")
	ErrCredentials = errors.New("must be printable ASCII, because they are sent as a header")
	ErrMissing     = errors.New("must not be empty: Basic needs them")
	ErrNeedless    = errors.New("must be left out: the ID token is the credentials")
)

// CheckAuth says whether a webhook can be sent with an authentication. google says that
// there is a service account to make ID tokens.
func CheckAuth(scheme, credentials string, google bool) error {
	switch {
	case !Visible(credentials):
		return ErrCredentials
	case strings.EqualFold(scheme, Basic):
		if credentials == "" {
			return ErrMissing
		}
	case strings.EqualFold(scheme, Bearer):
	case google && WantsIDToken(scheme):
		if credentials != "" {
			return ErrNeedless
		}
	default:
		return ErrScheme
	}
	return nil
}

// WantsIDToken says that scheme is GoogleIDToken.
func WantsIDToken(scheme string) bool { return strings.EqualFold(scheme, GoogleIDToken) }

// Visible says that s is printable ASCII, which is what a header can carry.
func Visible(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}
