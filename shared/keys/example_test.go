package keys_test

import (
	"context"
	"fmt"
	"time"

	"errand/shared/keys"
	"errand/shared/secret"
)

// A ring is read from a secret. A text that one key has sealed opens after the change of
// keys, in the place that it was sealed for.
func Example() {
	now := time.Now()
	text, _ := keys.Generate("", now.Add(-time.Hour)) // errand key makes such a text
	ring := keys.New(keys.Config{Read: func(context.Context) (secret.Value, error) { return secret.NewValue([]byte(text)) }})

	old, err := ring.Ring(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}

	sealed := old.Seal(now, "task t1", []byte("the receiver's password"))
	text, _ = keys.Generate(text, now) // a second key
	both, err := ring.Ring(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}

	plain, err := both.Open("task t1", sealed)
	fmt.Println(string(plain), err)
	_, err = both.Open("task t2", sealed)
	fmt.Println(err)
	fmt.Println(both)
	// Output:
	// the receiver's password <nil>
	// cannot be opened: damaged, or sealed for something else
	// [keys]
}
