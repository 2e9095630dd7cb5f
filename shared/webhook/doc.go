// Package webhook holds the decisions about webhooks: the request that is sent, its
// signature and authentication, the schedule of attempts, and the consequences of an
// answer.
//
// Its functions are pure. The package sends nothing and reads no store. The courier
// does both, and asks it twice for each attempt: [Prepare] before, and [Judge] after.
package webhook
