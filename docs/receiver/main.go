// Command receiver prints the webhooks it gets: something to point a push
// notification config at while trying the agent. It checks no signature and is not
// an example of a receiver to trust with money.
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
)

func main() {
	const address = "127.0.0.1:9099"
	fmt.Println("waiting for webhooks at http://" + address + "/")
	log.Fatal(http.ListenAndServe(address, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Printf("%s %s\n", r.Header.Get("webhook-id"), body)
	})))
}
