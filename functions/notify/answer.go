package notify

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"

	"errand/shared/egress"
	"errand/shared/webhook"
)

// classOf names a failure without saying anything that the receiver sent.
func classOf(err error) string {
	var (
		dns  *net.DNSError
		cert *tls.CertificateVerificationError
		rec  tls.RecordHeaderError
		wait net.Error
		op   *net.OpError
	)
	switch {
	case errors.Is(err, egress.ErrRefused):
		return webhook.ClassRefused
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &wait) && wait.Timeout():
		return webhook.ClassTimeout
	case errors.As(err, &dns):
		return webhook.ClassDNS
	case errors.As(err, &cert), errors.As(err, &rec), errors.As(err, &op) && op.Op == alert:
		return webhook.ClassTLS
	case op != nil:
		return webhook.ClassConnection
	}
	return webhook.ClassExchange
}

// alert is how crypto/tls names what the other side has said in a TLS alert, such as that
// it speaks none of our versions.
const alert = "remote error"

// cause is what an operator may read of an error: not the URL, which can hold
// secrets, but what a client keeps from whoever chose that URL.
func cause(err error) string {
	if c, ok := errors.AsType[interface {
		error
		Cause() string
	}](err); ok {
		return c.Cause()
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err.Error()
	}
	return err.Error()
}
