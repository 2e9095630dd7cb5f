// Package fake stands in for the services of Google Cloud that have no emulator, in
// tests: Cloud Tasks and Secret Manager on their real gRPC interfaces, Cloud Storage over
// HTTP, and an issuer of ID tokens. The real clients talk to them.
//
// It is no part of a program, keeps nothing on disk, and does not try to be as slow,
// as late or as forgetful as the real thing.
package fake
