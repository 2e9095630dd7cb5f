// Package gcp are the ports on Google Cloud, one service in each file: jobs on Cloud
// Tasks, events on Pub/Sub, secrets in Secret Manager.
//
// It creates nothing there (that is Terraform's part), and it decides nothing: like
// every adapter it is chosen in package setup.
package gcp
