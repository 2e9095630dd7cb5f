// Package webhook is the pure half of webhooks: when they are sent, how they are
// signed, what they say, and the decisions about them.
//
// It does no input or output and knows no store: whoever delivers acts on what it
// decides.
package webhook
