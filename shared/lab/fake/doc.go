// Package fake replaces, in tests, services of Google Cloud that have no emulator: Cloud Tasks
// and Secret Manager on their real gRPC interfaces, Cloud Storage over HTTP, and an issuer
// of ID tokens. The real clients call them.
//
// It is in no program and keeps nothing on disk. It does not imitate the latency, the delays
// and the losses of the real services.
package fake
