package strict_test

import (
	"fmt"

	"errand/shared/strict"
)

// Read gathers the faults of a file, and its caller adds those of the values.
func ExampleRead() {
	var batch struct {
		Name  string `yaml:"name"`
		Items int    `yaml:"items"`
	}

	file, err := strict.Read([]byte("name: spring\nitem: 3\nitems: -1\n"), &batch, strict.Options{Size: 1 << 10})
	if err != nil { // not YAML, or too large
		fmt.Println(err)
		return
	}

	if batch.Items < 1 {
		file.Failf("items", "must be at least 1")
	}
	fmt.Println(file.Err())
	// Output:
	// line 2: item: unknown key; did you mean "items"?
	// line 3: items: must be at least 1
}
