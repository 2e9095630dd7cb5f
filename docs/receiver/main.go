// Command receiver prints the webhooks it gets: a target for a push notification config
// while trying the agent. Without -secret it accepts every request. With the secrets of GET
// /push/keys it answers 401 to requests that are not signed with one of them. It stores
// nothing: a receiver for real work stores each webhook before it answers, and skips a
// webhook-id that it has had before (docs/webhooks.md).
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"
	"time"
)

func main() {
	var secrets []string
	flag.Func("secret", "`whsec_...`: accept only webhooks signed with it; repeat the flag for several secrets", func(s string) error {
		if !strings.HasPrefix(s, "whsec_") {
			return fmt.Errorf("must begin with whsec_, as GET /push/keys shows it")
		}
		secrets = append(secrets, s)
		return nil
	})
	flag.Parse()
	const address = "127.0.0.1:9099"
	fmt.Println("waiting for webhooks at http://" + address + "/")
	log.Fatal(http.ListenAndServe(address, receiver(secrets)))
}

// receiver prints the id and the body of each webhook that it accepts.
func receiver(secrets []string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if len(secrets) > 0 && !VerifyV1(secrets, r.Header, body, time.Now()) {
			http.Error(w, "not signed with a known secret, or not in the last five minutes", http.StatusUnauthorized)
			return
		}
		fmt.Printf("%s %s\n", r.Header.Get("webhook-id"), body)
	}
}
