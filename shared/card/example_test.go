package card_test

import (
	"fmt"
	"net/http/httptest"
	"time"

	"errand/shared/agent"
	"errand/shared/card"
)

// A card is derived from a definition, and served where clients look for it.
func Example() {
	definition := &agent.Agent{Name: "Clerk", Description: "Answers questions about orders.", Version: "1"}
	h, err := card.New(card.Config{Agent: definition, URL: "https://clerk.example.com", Modified: time.Now()})
	if err != nil {
		fmt.Println(err)
		return
	}

	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", card.Path, nil))
	fmt.Println(w.Code, w.Header().Get("Content-Type"), w.Header().Get("Cache-Control"))
	// Output:
	// 200 application/json public, max-age=300
}
