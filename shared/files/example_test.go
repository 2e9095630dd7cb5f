package files_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"errand/shared/adapters/local"
	"errand/shared/files"
)

// A file has an owner, a media type and a hash. DeleteAll deletes the files of a task.
func Example() {
	ctx := context.Background()
	folder, err := os.MkdirTemp("", "files")
	if err != nil {
		fmt.Println(err)
		return
	}

	defer os.RemoveAll(folder)

	store := files.New(func(context.Context) (files.Place, error) {
		return local.OpenFolder(local.FolderConfig{Dir: folder})
	}, time.Now)

	defer store.Close()

	put := files.Upload{Name: "tasks/7f/report.txt", Owner: "acme/ci", MediaType: "text/plain"}
	info, err := store.Put(ctx, put, strings.NewReader("All is well."))
	fmt.Println(info.Size, info.SHA256[:8], err)

	info, content, err := store.Get(ctx, "tasks/7f/report.txt")
	if err != nil {
		fmt.Println(err)
		return
	}

	text, err := io.ReadAll(content) // the last Read checks the hash
	content.Close()
	fmt.Println(info.Owner, string(text), err)

	fmt.Println(store.DeleteAll(ctx, "tasks/7f"))
	_, err = store.Stat(ctx, "tasks/7f/report.txt")
	fmt.Println(err)
	// Output:
	// 12 8ec321e3 <nil>
	// acme/ci All is well. <nil>
	// <nil>
	// there is no such file: tasks/7f/report.txt
}
