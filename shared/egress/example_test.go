package egress_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"errand/shared/egress"
)

// A receiver on this machine is reached only if the operator allows its address.
func Example() {
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	defer receiver.Close()

	for _, list := range []string{"", "127.0.0.1:*"} {
		allow, err := egress.ParseAllow(list)
		if err != nil {
			fmt.Println(err)
			return
		}

		client, err := egress.New(egress.Config{Allow: allow})
		if err != nil {
			fmt.Println(err)
			return
		}

		req, _ := http.NewRequest(http.MethodPost, receiver.URL, nil)
		res, err := client.Do(req)
		if err != nil {
			fmt.Println(err)
			continue
		}

		fmt.Println(res.Status)
		res.Body.Close()
	}
	// Output:
	// the destination could not be reached
	// 204 No Content
}
