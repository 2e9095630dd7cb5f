package webhook

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// The supported schemes of authentication. Their names are case-insensitive (P10).
const (
	basic  = "Basic"  // sends the client's credentials
	bearer = "Bearer" // sends the client's credentials, or without any a new token of ours in each attempt

	// GoogleIDToken sends an ID token of the courier's service account as Bearer, for
	// receivers behind IAM.
	GoogleIDToken = "Google-ID-Token"
)

// ErrScheme refuses an unsupported scheme. The text is for the client.
var ErrScheme = errors.New("must be Basic, Bearer, or on Google Cloud Google-ID-Token; no other can be performed")

// ErrIDToken refuses an ID token for an origin that the owner was not given. The text is for
// the client.
var ErrIDToken = errors.New("may be " + GoogleIDToken + " only for origins that the access file gives to you")

// Errors about the credentials of a supported scheme. The texts are for the client.
var (
	errCredentials = errors.New("must be printable ASCII, because they are sent as a header")
	errMissing     = errors.New("must not be empty: Basic needs them")
	errBasic       = errors.New("must be user:password in base64, as Basic sends it")
	errBearer      = errors.New("must be the token alone, without spaces and without the word Bearer; leave them out, and a token of this agent is sent")
	errNeedless    = errors.New("must be left out: the ID token is the credentials")
)

// CheckAuth checks the authentication that a client asks for. The error is ErrScheme or
// ErrIDToken, or it concerns the credentials. given reports whether the client may have
// GoogleIDToken sent to an origin. Without a service account it is nil.
func CheckAuth(scheme, credentials, url string, given func(origin string) bool) error {
	switch {
	case !Visible(credentials):
		return errCredentials
	case strings.EqualFold(scheme, basic):
		return checkBasic(credentials)
	case strings.EqualFold(scheme, bearer):
		if strings.Contains(credentials, " ") {
			return errBearer
		}
	case given != nil && wantsIDToken(scheme):
		if credentials != "" {
			return errNeedless
		}
		return checkIDToken(url, given)
	default:
		return ErrScheme
	}
	return nil
}

// checkBasic checks credentials of Basic (RFC 7617, section 2).
func checkBasic(credentials string) error {
	if credentials == "" {
		return errMissing
	}
	text, err := base64.StdEncoding.DecodeString(credentials)
	if err != nil || !bytes.Contains(text, []byte(":")) {
		return errBasic
	}
	return nil
}

// checkIDToken checks that an ID token may go to the origin of a URL.
func checkIDToken(url string, given func(origin string) bool) error {
	to, err := origin(url)
	if err == nil && !given(to) {
		err = fmt.Errorf("%w: have its operator add %s to the idTokens of your principal", ErrIDToken, to)
	}
	return err
}

// wantsIDToken reports whether a scheme is GoogleIDToken.
func wantsIDToken(scheme string) bool { return strings.EqualFold(scheme, GoogleIDToken) }

// Visible reports whether s is printable ASCII, so that a header can carry it.
func Visible(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}
