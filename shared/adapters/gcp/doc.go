// Package gcp implements the ports on Google Cloud, one service in each file: task records
// and entries in Firestore, jobs on Cloud Tasks, events on Pub/Sub, secrets in Secret
// Manager, files and the objects of others in Cloud Storage. No other package uses Google's clients for these services.
//
// It creates no databases, queues or topics (Terraform does), decides nothing about tasks,
// and never repeats a write that could then look like the write of another caller. Like
// every adapter it is chosen in package setup.
package gcp
