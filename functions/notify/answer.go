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

// classOf is the class of a failure. It repeats nothing that the receiver sent.
func classOf(err error) string {
	op, onNet := errors.AsType[*net.OpError](err)
	switch {
	case errors.Is(err, egress.ErrRefused):
		return webhook.ClassRefused
	case errors.Is(err, context.DeadlineExceeded), timedOut(err):
		return webhook.ClassTimeout
	case is[*net.DNSError](err):
		return webhook.ClassDNS
	case is[*tls.CertificateVerificationError](err), is[tls.RecordHeaderError](err), onNet && op.Op == alert:
		return webhook.ClassTLS
	case onNet:
		return webhook.ClassConnection
	}
	return webhook.ClassExchange
}

// alert is the operation by which crypto/tls reports a TLS alert of the other side, for
// example that it supports none of our versions.
const alert = "remote error"

// is reports whether err wraps an error of type E.
func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

func timedOut(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

// cause is the text of an error for the operator's log. It omits the URL, which can hold
// secrets. The guarded client keeps its cause from the client that chose the URL.
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
