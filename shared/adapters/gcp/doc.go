// Package gcp are the ports on Google Cloud, one service in each file: task records and
// entries in Firestore, jobs on Cloud Tasks, events on Pub/Sub, secrets in Secret
// Manager, files in Cloud Storage. It is the only place that knows Google's clients.
//
// It creates nothing there (that is Terraform's part), decides nothing about tasks, and
// repeats nothing that could be mistaken for somebody else's write. Like every adapter it
// is chosen in package setup.
package gcp
