// Command receiver prints the webhooks that it gets: a target for push notification
// configs while you try the agent. Without -secret it believes every sender. With the
// secrets of GET /push/keys it answers 401 to deliveries that they did not sign. It stores
// nothing. A receiver for serious work stores a delivery before it answers, and ignores a
// webhook-id that it has stored before (docs/webhooks.md).
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
	flag.Func("secret", "`whsec_...`: take only what is signed with it; repeat the flag for several", func(s string) error {
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

// receiver prints the id and the body of each delivery that it accepts.
func receiver(secrets []string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if len(secrets) > 0 && !VerifyV1(secrets, r.Header, body, time.Now()) {
			http.Error(w, "not signed with a secret of mine, or not lately", http.StatusUnauthorized)
			return
		}
		fmt.Printf("%s %s\n", r.Header.Get("webhook-id"), body)
	}
}
